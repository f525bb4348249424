"""The last items are hidden and ranked step by step, with true items or the model's own."""

import csv

import numpy as np
import pytest
import torch

from scalelab.core import plugins
from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import RunSpec
from scalelab.datasets.load import lengths
from scalelab.measure.session import run
from scalelab.models import EncoderInput
from scalelab.planning.predict import predict
from scalelab.store.ledger import Ledger
from scalelab.train.assemble import assemble
from scalelab.train.roll_out import roll_out

STEPS = 4
LEAVE = {"data.test_items": STEPS, "evaluate.steps_ahead": STEPS}
SPLITS = {
    "leave_one_out": {"data.test_items": STEPS},
    "temporal": {"data.split": "temporal", "data.quantile": 0.5},
    "global_time": {"data.split": "global_time", "data.cut": 0.5},
    "sessions": {"data.split": "sessions", "data.cut": 0.5},
}


@pytest.fixture
def timed(tmp_path):
    """Data with clock times, histories of several lengths, and items that come again."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(60):
        length = 3 + user % 11
        times = np.sort(rng.integers(0, 10**6, length)) + (user % 7) * 200_000
        rows += [
            (user, i, 1_600_000_000 + t)
            for i, t in zip(rng.integers(1, 41, length), times, strict=True)
        ]
    with (tmp_path / "timed.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("user_id", "item_id", "timestamp"), *rows])
    return {"data.reader": "table", "data.path": str(tmp_path / "timed.csv")}


def scores_of(trainer, history):
    """All items' scores for a history that stands alone in a row."""
    last = np.array(history[-12:], np.int32)
    length = len(last)
    state = trainer.parts.model(
        EncoderInput(
            torch.tensor(np.pad(last, (0, 12 - length)))[None],
            torch.tensor([[1] * length + [0] * (12 - length)], dtype=torch.int32),
            torch.tensor([list(range(length)) + [0] * (12 - length)], dtype=torch.int32),
            1,
        )
    )[0, length - 1]
    return (trainer.parts.model.item_table_VD @ state).numpy()


@torch.no_grad()
def brute_force(trainer, *, fed_back, exclude_seen):
    """NDCG@10 of each step, one user and one item after the other."""
    trainer.parts.model.eval()
    trained = {
        int(start): int(end)
        for start, end in zip(
            trainer.data.split.train.starts, trainer.data.split.train.ends, strict=True
        )
    }
    offsets = trainer.data.interactions.offsets
    found = [[] for _ in range(STEPS)]
    for user in sorted(set(trainer.data.split.test.users.tolist())):
        start, end = int(offsets[user]), int(offsets[user + 1])
        if end - start <= STEPS or trained.get(start, start) > end - STEPS:
            continue
        items = trainer.data.interactions.item_ids
        history = [int(i) for i in items[start : end - STEPS]]
        for step in range(STEPS):
            target = int(items[end - STEPS + step])
            scores = scores_of(trainer, history)
            scores[0] = -np.inf
            if exclude_seen:
                scores[history] = -np.inf
            rank = int((scores > scores[target]).sum()) + 1
            missed = exclude_seen and target in history
            found[step].append(0.0 if missed or rank > 10 else 1 / np.log2(1 + rank))
            history.append(int(scores.argmax()) if fed_back else target)
    return found


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("fed_back", [True, False])
@pytest.mark.parametrize("exclude_seen", [True, False])
def test_each_step_is_ranked_as_one_after_the_other(small, timed, split, fed_back, exclude_seen):
    options = {
        "data.exclude_seen": exclude_seen,
        "evaluate.fed_back": fed_back,
        "evaluate.steps_ahead": STEPS,
    }
    trainer = assemble(small(timed | SPLITS[split] | options))
    with torch.no_grad():  # so that the model does not rank what was last once more
        draw = torch.Generator().manual_seed(3)
        for parameter in trainer.parts.model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))
        trainer.parts.model.item_table_VD[0] = 0.0
    wanted = brute_force(trainer, fed_back=fed_back, exclude_seen=exclude_seen)
    found = dict(roll_out(trainer))
    assert list(found) == [f"ahead-{step}" for step in range(1, STEPS + 1)]
    for step, gains in enumerate(wanted, start=1):
        metrics = found[f"ahead-{step}"]
        assert metrics["num_users"] == len(gains) > 3
        assert metrics["ndcg@10"] == pytest.approx(np.mean(gains), abs=1e-9)
    # The data themselves stay as they are.
    again = dict(roll_out(trainer))
    assert again == found


@pytest.mark.parametrize("model", [{}, {"model.user_embedding": True}, {"model.name": "bert4rec"}])
def test_with_true_items_a_step_is_what_evaluation_of_that_target_is(small, model):
    trainer = assemble(small(LEAVE | {"evaluate.fed_back": False} | model))
    found = dict(roll_out(trainer))
    assert found[f"ahead-{STEPS}"]["ndcg@10"] == trainer.evaluate("test")["ndcg@10"]
    assert found["ahead-1"] == trainer.evaluate("ahead-1")


def test_what_is_hidden_is_not_trained_on(small):
    trainer = assemble(small(LEAVE | {"evaluate.positions": 2}))
    train, histories = trainer.data.split.train, trainer.data.interactions.histories
    for user, history in enumerate(histories.lengths.tolist()):
        held_out = STEPS + 1 if history >= STEPS + 2 else 0
        assert train.lengths[user] == history - held_out
    valid = trainer.data.split.valid
    for n, user in enumerate(valid.users.tolist()):
        assert valid.targets[n] == histories[user][-STEPS - 1]
        assert valid.histories[n].tolist() == histories[user][: -STEPS - 1].tolist()
    earlier = trainer.earlier["train-2"]
    for n, user in enumerate(earlier.users.tolist()):
        assert earlier.targets[n] == histories[user][-STEPS - 3]


@pytest.mark.parametrize("split", SPLITS)
def test_lengths_are_known_without_the_items(small, timed, split):
    spec = small(timed | SPLITS[split] | {"evaluate.steps_ahead": STEPS, "data.max_eval_users": 20})
    ahead = assemble(spec).ahead
    known = lengths(spec.data).ahead(20, STEPS)
    assert {name: part.histories.lengths.tolist() for name, part in ahead.items()} == {
        name: part.tolist() for name, part in known.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("fed_back", [True, False])
def test_steps_are_predicted_measured_stored_and_drawn(small, tmp_path, fed_back):
    spec = small(LEAVE | {"evaluate.fed_back": fed_back, "train.epochs": 2})
    record = run(spec, run_id="r", strict=True)
    measured = {(m.stage, m.component): m.bytes for m in record.memory if m.kind == "requested"}
    predicted = predict(spec)
    assert predicted.evaluation["requested"]["total"] == measured["eval", "total"]
    plain = predict(small({"data.test_items": STEPS, "train.epochs": 2}))
    once = predicted.run_s.low - plain.run_s.low
    assert once == pytest.approx(STEPS * predicted.evaluation_s.low, rel=1e-6)
    values = {(m.split, m.epoch): m.value for m in record.metrics if (m.name, m.k) == ("ndcg", 10)}
    best = record.run.best_epoch
    ledger = Ledger.create_or_open(tmp_path / "a.duckdb")
    ledger.append([record])
    chart = plugins.load("charts", "positions")()
    rows = chart.rows(ledger)
    splits = ["valid", "test", *(f"ahead-{step}" for step in range(1, STEPS + 1))]
    assert rows["position"].to_pylist() == [-1, 0, 1, 2, 3, 4]
    assert rows["quality"].to_pylist() == [values[split, best] for split in splits]
    first, last = values["ahead-1", best], values[f"ahead-{STEPS}", best]
    wanted = f"From step 1 ahead to step {STEPS} NDCG@10 goes from {first:.4f} to {last:.4f}"
    assert wanted in chart.finding(rows)
    assert chart.draw(rows).to_dict()
    assert record.run.protocol == "leave-one-out, 4 items for test, seen excluded"


def test_more_steps_than_hidden_items_are_refused(small):
    spec = small({"evaluate.steps_ahead": 3})
    for whole in (lambda: assemble(spec), lambda: predict(spec)):
        with pytest.raises(DataError, match="steps_ahead = 3") as refused:
            whole()
        assert "data.test_items = 3" in refused.value.hint
    # Validation's item is not trained on either.
    assert list(assemble(small({"evaluate.steps_ahead": 2})).ahead) == ["ahead-1", "ahead-2"]


def test_only_leave_one_out_has_test_items():
    with pytest.raises(SpecError, match="says itself which items test"):
        RunSpec.load("sasrec-synthetic", {"data.test_items": 2, "data.split": "sessions"})
