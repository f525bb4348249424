"""A vector for each user: in training, in ranking, in the account, and in a model that is kept."""

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import scalelab
from scalelab.core.errors import SpecError
from scalelab.core.spec import RunSpec
from scalelab.datasets.filters import keep_core
from scalelab.datasets.known_users import training_rows
from scalelab.datasets.request import request
from scalelab.measure.session import run
from scalelab.models import EncoderInput
from scalelab.models.sasrec import SASRec
from scalelab.models.users import num_users_are
from scalelab.planning.predict import predict
from scalelab.train.assemble import assemble
from scalelab.train.kept_model import load_model
from scalelab.train.recommend import known_items, known_users, top_lists
from scalelab.train.step import hidden_of

USERS = {"model.user_embedding": True}


OWN_MODEL = """
import torch
from scalelab.models.tables import item_table
from scalelab.models.users import user_table

__all__ = ["UsersOnly"]


class UsersOnly(torch.nn.Module):
    def __init__(self, *, num_items, max_len, generator, hidden_dim: int = 8):
        super().__init__()
        self.items, self.users = item_table(num_items, hidden_dim), user_table(hidden_dim)
        self.reset_parameters(generator)

    def reset_parameters(self, generator):
        self.items.reset(0.1, generator)
        self.users.reset(0.1, generator)

    @property
    def item_table_VD(self):
        return self.items.rows_VD

    @property
    def user_table_UD(self):
        return self.users.weight

    def forward(self, inputs):
        return self.users(inputs) + 0.0 * self.items(inputs.item_ids_BL)
"""


def test_a_model_of_your_own_may_have_a_table_of_users(small, tmp_path, monkeypatch):
    (tmp_path / "users_only.py").write_text(OWN_MODEL)
    monkeypatch.chdir(tmp_path)
    spec = small(
        {
            "model": {"name": "./users_only.py:UsersOnly"},
            "train.epochs": 4,
            "train.learning_rate": 0.1,
        }
    )
    record = run(spec, run_id="r", strict=True)
    predicted = predict(spec)
    measured = {
        m.component: m.bytes for m in record.memory if (m.stage, m.kind) == ("train", "requested")
    }
    assert predicted.memory["requested"] == measured
    assert measured["user_table"] >= 3 * 4 * 8 * 301
    losses = [m.value for m in record.metrics if (m.split, m.name) == ("train", "loss")]
    assert losses[-1] < losses[0] - 0.3, "users were not learned"


def write_csv(file, rows):
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([("user_id", "item_id", "timestamp"), *rows])
    return file


@pytest.fixture
def timed(tmp_path):
    """Data with clock times; some histories are short."""
    rng = np.random.default_rng(0)
    rows = [
        (user, int(item), 1_600_000_000 + int(time))
        for user in range(80)
        for item, time in zip(
            rng.integers(1, 61, 3 + user % 9),
            np.sort(rng.integers(0, 10**7, 3 + user % 9)),
            strict=True,
        )
    ]
    path = write_csv(tmp_path / "timed.csv", rows)
    return {"data.reader": "table", "data.path": str(path)}


def clear_users(model):
    """Vectors of users that matter; nothing else is random any more."""
    draw = torch.Generator().manual_seed(1)
    table = model.users.weight
    table[1:] = torch.randn(table[1:].shape, generator=draw, dtype=table.dtype)
    return model.eval()


@torch.no_grad()
def test_the_vector_of_the_user_is_added_to_every_state_of_the_history():
    with num_users_are(5):
        model = SASRec(num_items=20, max_len=6, generator=None, user_embedding=True).double()
    clear_users(model)
    items = torch.tensor([[3, 4, 5, 9, 8, 0]], dtype=torch.int32)
    segments = torch.tensor([[1, 1, 1, 2, 2, 0]], dtype=torch.int32)
    positions = torch.tensor([[0, 1, 2, 0, 1, 0]], dtype=torch.int32)
    inputs = EncoderInput(items, segments, positions, 2, torch.tensor([4, 0], dtype=torch.int32))
    found = model(inputs)
    model.users, users = None, model.users
    plain = model(inputs)
    torch.testing.assert_close(found[0, :3], plain[0, :3] + users.weight[4], rtol=0, atol=1e-12)
    assert torch.equal(found[0, 3:], plain[0, 3:]), "an unknown user, or padding, got a vector"
    assert not users.weight[0].any()


def test_a_training_step_reaches_the_vectors_of_its_users_alone(small):
    trainer = assemble(small(USERS))
    model = trainer.parts.model
    batch = trainer.loader.batch(0, 0)
    # The item table gets a whole gradient, as every loss sends it one.
    (hidden_of(trainer.parts, batch).sum() * 2 + 0 * model.item_table_VD.sum()).backward()
    touched = model.users.weight.grad.abs().sum(1).nonzero().flatten().tolist()
    assert touched == sorted((batch.users_S + 1).tolist())
    # Each position of a user adds as much.
    positions = np.bincount(batch.sequence_N.numpy())
    for s, user in enumerate(batch.users_S.tolist()):
        row = model.users.weight.grad[user + 1]
        torch.testing.assert_close(row, torch.full_like(row, 2.0 * positions[s]))


@torch.no_grad()
@pytest.mark.parametrize(
    "split",
    [{}, {"data.split": "temporal", "data.quantile": 0.6}, {"data.split": "global_time"}],
    ids=["leave_one_out", "temporal", "global_time"],
)
def test_each_user_is_ranked_for_with_the_vector_that_was_trained(small, split, timed):
    trainer = assemble(small(USERS | timed | {"data.exclude_seen": False} | split))
    model = clear_users(trainer.parts.model)
    test, train = trainer.data.split.test, trainer.data.split.train
    trained = {int(start): n for n, start in enumerate(train.starts) if train.lengths[n] >= 2}
    wanted, known = [], 0
    for n in range(len(test)):
        history = test.histories[n][-12:]
        length = len(history)
        row = trained.get(int(test.histories.starts[n]), -1) + 1
        known += row > 0
        ids = torch.tensor(history[None].astype(np.int32))
        state = model(
            EncoderInput(
                torch.nn.functional.pad(ids, (0, 12 - length)),
                torch.tensor([[1] * length + [0] * (12 - length)], dtype=torch.int32),
                torch.tensor([list(range(length)) + [0] * (12 - length)], dtype=torch.int32),
                1,
                torch.tensor([row], dtype=torch.int32),
            )
        )[0, length - 1]
        scores = model.item_table_VD[1:] @ state
        rank = int((scores > scores[test.targets[n] - 1]).sum()) + 1
        wanted.append(min(rank, 21))  # beyond the longest list all ranks are alike
    assert trainer.ranked("test")[1].ranks.tolist() == wanted
    # There the users that test are others than those that train.
    assert (known > 0) == ("temporal" not in split.values())


def test_a_user_without_two_training_items_has_no_vector(small, timed):
    trainer = assemble(small(USERS | timed))
    train = trainer.data.split.train
    rows = training_rows(train, trainer.data.split.test.histories)
    lengths = train.lengths[trainer.data.split.test.users]
    assert (rows == np.where(lengths >= 2, trainer.data.split.test.users + 1, 0)).all()
    assert (lengths < 2).any()


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"train.accumulate": 2}, {"train.ema_decay": 0.9}])
def test_what_it_costs_is_predicted_and_accounted_as_one_component(small, more):
    many = {"data.num_users": 3000, "train.max_steps": 2, "train.epochs": 1, "batch.max_len": 4}
    record = run(small(USERS | many | more), run_id="r", strict=True)
    predicted = predict(small(USERS | many | more))
    assert record.run.account_error == 0.0
    for stage, found in (("train", predicted.memory), ("eval", predicted.evaluation)):
        measured = {
            m.component: m.bytes for m in record.memory if (m.stage, m.kind) == (stage, "requested")
        }
        assert found["requested"] == measured
    table = 4 * 16 * 3001
    # Adam's two moments (and an average) beside the weights; the gradient where it is at the peak.
    copies = 4 if "train.ema_decay" in more else 3
    held = predicted.evaluation["requested"]["user_table"]
    assert held == pytest.approx(copies * table, abs=8)
    assert predicted.memory["requested"]["user_table"] == pytest.approx(held + table, abs=8)
    plain = predict(small(many | more))
    assert "user_table" not in plain.memory["requested"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"data.split": "sessions"}, "sessions that training has not seen"),
        ({"data.reader": "sessions", "data.path": "x"}, "a history for each session"),
        (
            {"data.reader": "sequences", "data.path": "x", "data.has_user": False},
            "a history for each line",
        ),
    ],
)
def test_data_without_users_are_refused(options, reason):
    with pytest.raises(SpecError, match=reason) as refused:
        RunSpec.load("sasrec-synthetic", USERS | options)
    assert "model.user_embedding = false" in refused.value.hint


@pytest.fixture(scope="module", params=["text", "numbers"])
def kept(request, tmp_path_factory):
    """The folder of a kept model whose users have ids of their own, and these ids."""
    folder = tmp_path_factory.mktemp("kept")
    rng = np.random.default_rng(4)
    name = "u{}".format if request.param == "text" else (lambda user: 1000 + 7 * user)
    # The first ten are too short for the filter below.
    lengths = [2] * 10 + [6] * 40
    rows = [
        (name(user), f"i{item}", t)
        for user, length in enumerate(lengths)
        for t, item in enumerate(rng.choice(30, size=length, replace=False))
    ]
    settings = {
        "data.reader": "table", "data.path": str(write_csv(folder / "train.csv", rows)),
        "data.min_user_count": 5, "model.hidden_dim": 8, "model.num_blocks": 1, "batch.max_len": 8,
        "train.epochs": 2, "loss.name": "dense_ce", "device.name": "cpu", **USERS,
    }  # fmt: skip
    scalelab.profile("sasrec-synthetic", set=settings, save_model=folder / "model")
    return folder, [name(user) for user in range(10, 50)]


@torch.no_grad()
def test_a_kept_model_knows_its_users_by_their_own_ids(kept, tmp_path):
    folder, ids = kept
    model = load_model(folder / "model", "cpu")
    assert model.user_ids.tolist() == ids
    clear_users(model.model)
    other = "stranger" if isinstance(ids[0], str) else 1
    # The same history, twice by users of the model and once by another one.
    rows = [(user, f"i{i}", i) for user in (ids[5], ids[7], other) for i in (1, 2, 3)]
    file = write_csv(tmp_path / "histories.csv", rows)
    interactions = request(file, None, {}).load(tmp_path)
    rows_of = known_users(model, interactions)
    names = interactions.find_user_ids().tolist()
    assert dict(zip(names, rows_of.tolist(), strict=True)) == {ids[5]: 6, ids[7]: 8, other: 0}
    known = known_items(model, interactions)
    scores = {}
    for lists in top_lists(model, interactions, known, k=3, include_seen=True, user_rows=rows_of):
        for user, score in zip(lists.user_n.tolist(), lists.score_n.tolist(), strict=True):
            scores.setdefault(names[user], []).append(score)
    assert len({tuple(found) for found in scores.values()}) == 3
    plain = top_lists(
        model, interactions, known, k=3, include_seen=True, user_rows=np.zeros(3, np.int32)
    )
    alone = {name: [] for name in names}
    for lists in plain:
        for user, score in zip(lists.user_n.tolist(), lists.score_n.tolist(), strict=True):
            alone[names[user]].append(score)
    assert scores[other] == alone[other] == alone[ids[5]] != scores[ids[5]]
    made = scalelab.recommend(folder / "model", file, tmp_path / "top.parquet", k=3)
    assert (made.users, made.unknown_users) == (3, 1)
    assert set(pq.read_table(tmp_path / "top.parquet")["user"].to_pylist()) == set(names)


def test_without_own_ids_nobody_is_known(tmp_path):
    settings = {
        "data.num_items": 500, "data.num_users": 60, "train.epochs": 1, "train.max_steps": 2,
        "loss.name": "dense_ce", "device.name": "cpu", **USERS,
    }  # fmt: skip
    scalelab.profile("sasrec-synthetic", set=settings, save_model=tmp_path / "model")
    file = write_csv(tmp_path / "one.csv", [(1, 5, 1), (2, 6, 1)])
    made = scalelab.recommend(tmp_path / "model", file, tmp_path / "top.csv", k=3)
    assert (made.users, made.unknown_users) == (2, 2)


def test_ids_of_users_follow_a_filter(tmp_path):
    rows = [(7, "a", 1), (8, "a", 1), (8, "b", 2), (9, "a", 1), (9, "b", 2)]
    interactions = request(write_csv(tmp_path / "a.csv", rows), None, {}).load(tmp_path)
    assert interactions.find_user_ids().tolist() == [7, 8, 9]
    kept = keep_core(interactions, min_item_count=1, min_user_count=2)
    assert kept.find_user_ids().tolist() == [8, 9]
