"""Top lists are those of a brute-force ranking, in the ids of the files, within bounded memory."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import scalelab
from scalelab.batches.histories import history_batches
from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import RunSpec
from scalelab.datasets.request import request
from scalelab.models import EncoderInput
from scalelab.train.assemble import build_parts
from scalelab.train.checkpoint import save_weights
from scalelab.train.kept_model import load_model
from scalelab.train.recommend import known_items, top_lists

SMALL = {
    "model.hidden_dim": 16,
    "model.num_blocks": 1,
    "model.num_heads": 1,
    "batch.max_len": 8,
    "train.epochs": 1,
    "train.max_steps": 3,
}


def write_csv(file, rows):
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["user_id", "item_id", "timestamp"])
        writer.writerows(rows)
    return file


def rows_of(num_users, num_items, seed=0, user="u{}", item="sku-{}"):
    rng = np.random.default_rng(seed)
    return [
        (user.format(u), item.format(i), t)
        for u in range(num_users)
        for t, i in enumerate(rng.choice(num_items, size=int(rng.integers(4, 9)), replace=False))
    ]


@pytest.fixture(scope="module", params=["sasrec", "bert4rec"])
def model_name(request):
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory, model_name):
    """A model kept after three steps on text ids."""
    folder = tmp_path_factory.mktemp("kept")
    data = write_csv(folder / "train.csv", rows_of(60, 40))
    settings = SMALL | {"data.reader": "table", "data.path": str(data)}
    settings |= {"model.name": model_name, "loss.name": "dense_ce"}
    scalelab.profile("sasrec-synthetic", set=settings, save_model=folder / "model")
    return folder


def brute_force(kept, interactions, known, include_seen):
    """By user: items of the model and scores, the best first, one user and all items at a time."""
    found = {}
    histories = interactions.histories
    for user in range(interactions.num_users):
        items = [int(i) for i in known.item_of[histories[user]] if i > 0]
        if not items:
            continue
        one = type(histories)(
            item_ids=np.array(items, np.int32), starts=np.array([0]), ends=np.array([len(items)])
        )
        (batch,) = history_batches(
            one,
            packer="first_fit",
            max_len=kept.evaluator.max_len,
            size=1,
            masked=kept.evaluator.masked,
        )
        inputs = EncoderInput(batch.item_ids_BL, batch.segments_BL, batch.positions_BL, 1)
        with torch.no_grad():
            hidden = kept.model(inputs)[0, int(batch.last_S[0])]
            scores = (kept.model.item_table_VD @ hidden).double()
        scores[0] = -torch.inf
        if not include_seen:
            scores[items] = -torch.inf
        order = sorted(range(len(scores)), key=lambda i: (-float(scores[i]), i))
        found[user] = [(i, float(scores[i])) for i in order if scores[i] > -torch.inf]
    return found


@pytest.mark.parametrize("include_seen", [False, True])
@pytest.mark.parametrize("blocks", [(7, 4 * 7 * 5), (256, 2**25)])
def test_lists_are_those_of_brute_force(folder, tmp_path, include_seen, blocks):
    # Some items that the model has never seen, one user with nothing else.
    rows = [*rows_of(20, 44, seed=1), ("stranger", "sku-new", 0), ("stranger", "sku-newer", 1)]
    file = write_csv(tmp_path / "histories.csv", rows)
    kept = load_model(folder / "model", "cpu")
    interactions = request(file, None, {}).load(tmp_path)
    known = known_items(kept, interactions)
    theirs = {item for _, item, _ in rows}
    assert known.num_unknown == len(theirs - set(kept.item_ids.tolist())) >= 2
    wanted = brute_force(kept, interactions, known, include_seen)
    assert len(wanted) == 20
    found = {}
    for lists in top_lists(
        kept, interactions, known, k=6, include_seen=include_seen,
        block_users=blocks[0], score_bytes=blocks[1],
    ):  # fmt: skip
        for user, rank, item, score in zip(*(part.tolist() for part in lists), strict=True):
            found.setdefault(user, []).append((rank, item, score))
    assert found.keys() == wanted.keys()
    for user, best in wanted.items():
        assert [rank for rank, _, _ in found[user]] == [1, 2, 3, 4, 5, 6]
        assert [item for _, item, _ in found[user]] == [item for item, _ in best[:6]]
        scores = [score for _, _, score in found[user]]
        assert scores == pytest.approx([score for _, score in best[:6]], abs=1e-5)


def test_rows_are_in_the_ids_of_the_files(folder, tmp_path):
    rows = [*rows_of(20, 44, seed=1), ("stranger", "sku-new", 0)]
    file = write_csv(tmp_path / "histories.csv", rows)
    made = scalelab.recommend(folder / "model", file, tmp_path / "top.parquet", k=5)
    table = pq.read_table(tmp_path / "top.parquet")
    assert table.column_names == ["user", "rank", "item", "score"]
    assert (made.users, made.rows, made.users_without_list) == (20, 100, 1)
    assert table.num_rows == 100
    assert set(table["user"].to_pylist()) == {f"u{u}" for u in range(20)}
    seen = {(user, item) for user, item, _ in rows}
    pairs = list(zip(table["user"].to_pylist(), table["item"].to_pylist(), strict=True))
    assert all(item.startswith("sku-") for _, item in pairs)
    assert not seen & set(pairs)
    for name in ("top.csv", "top.jsonl"):
        again = scalelab.recommend(folder / "model", file, tmp_path / name, k=5)
        assert again.rows == 100
    with (tmp_path / "top.csv").open() as stream:
        lines = list(csv.DictReader(stream))
    assert [(line["user"], line["item"]) for line in lines] == pairs
    written = [json.loads(line) for line in (tmp_path / "top.jsonl").read_text().splitlines()]
    assert [(line["user"], line["item"]) for line in written] == pairs


def test_numbers_stay_numbers_and_short_catalogs_give_short_lists(tmp_path):
    rows = rows_of(30, 12, user="{}", item="{}")
    train = write_csv(tmp_path / "train.csv", [(100 + int(u), 7 * int(i), t) for u, i, t in rows])
    settings = SMALL | {"data.reader": "table", "data.path": str(train), "loss.name": "dense_ce"}
    scalelab.profile("sasrec-synthetic", set=settings, save_model=tmp_path / "model")
    file = write_csv(tmp_path / "one.csv", [(5, 0, 1), (5, 7, 2), (9, 14, 1)])
    scalelab.recommend(tmp_path / "model", file, tmp_path / "top.parquet", k=50)
    table = pq.read_table(tmp_path / "top.parquet")
    counts = table.group_by("user").aggregate([("item", "count")]).to_pylist()
    assert {row["user"]: row["item_count"] for row in counts} == {5: 10, 9: 11}
    assert all(item % 7 == 0 for item in table["item"].to_pylist())


def test_a_model_of_synthetic_data_counts_items_from_one(tmp_path):
    settings = SMALL | {"data.num_items": 500, "data.num_users": 60, "loss.name": "dense_ce"}
    scalelab.profile("sasrec-synthetic", set=settings, save_model=tmp_path / "model")
    file = write_csv(tmp_path / "one.csv", [(1, 500, 1), (1, 501, 2), (2, 1, 1)])
    made = scalelab.recommend(tmp_path / "model", file, tmp_path / "top.csv", k=3)
    assert (made.users, made.unknown_items) == (2, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 0}, "invalid k"),
        ({"out": "top.xlsx"}, "ends in .xlsx"),
        ({"model": "nowhere"}, "holds no model"),
        ({"rows": [("a", "other", 1)]}, "no list to write"),
    ],
)
def test_bad_input_is_one_clear_line(folder, tmp_path, options, message):
    options = dict(options)
    file = write_csv(tmp_path / "h.csv", options.pop("rows", rows_of(3, 40)))
    out = tmp_path / options.pop("out", "top.csv")
    model = tmp_path / options.pop("model") if "model" in options else folder / "model"
    with pytest.raises((SpecError, DataError), match=message):
        scalelab.recommend(model, file, out, **options)
    assert not list(tmp_path.glob("*top*"))


DAMAGE = {
    "cannot read .*weights.safetensors": lambda kept: cut(kept / "weights.safetensors"),
    "cannot read .*spec.json": lambda kept: cut(kept / "spec.json"),
    "does not hold the settings of a run": lambda kept: (kept / "spec.json").write_text('{"a": 1}'),
    "has lost item_ids.parquet": lambda kept: (kept / "item_ids.parquet").unlink(),
    "holds no model": lambda kept: (kept / "weights.safetensors").unlink(),
    "does not fit": lambda kept: (kept / "spec.json").write_text(
        (kept / "spec.json").read_text().replace('"hidden_dim": 16', '"hidden_dim": 8')
    ),
}


def cut(file):
    file.write_bytes(file.read_bytes()[:-20])


@pytest.mark.parametrize("message", DAMAGE)
def test_a_damaged_model_is_refused_in_one_line(folder, tmp_path, message):
    kept = Path(shutil.copytree(folder / "model", tmp_path / "kept"))
    DAMAGE[message](kept)
    file = write_csv(tmp_path / "h.csv", rows_of(3, 40))
    with pytest.raises((SpecError, DataError), match=message) as caught:
        scalelab.recommend(kept, file, tmp_path / "top.csv")
    assert "\n" not in caught.value.message
    assert not list(tmp_path.glob("*top*"))


PEAK = """
import resource, sys, scalelab
made = scalelab.recommend(sys.argv[1], sys.argv[2], sys.argv[3], k=20)
print(made.rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


@pytest.mark.slow
def test_a_million_items_and_many_users_take_little_more_than_the_model(tmp_path):
    """Scores of 1,000 users and a million items would take 4 GB."""
    settings = SMALL | {"device.name": "cpu", "loss.name": "dense_ce", "data.num_items": 1_000_000}
    spec = RunSpec.load("sasrec-synthetic", settings)
    model = build_parts(spec, 1_000_000, seed=0).model
    folder = tmp_path / "model"
    save_weights(model, folder / "weights.safetensors", {"num_items": "1000000"})
    (folder / "spec.json").write_text(spec.as_json())
    del model
    peaks = []
    for users in (20, 1_000):
        file = write_csv(
            tmp_path / f"{users}.csv",
            [(u, 1 + (u * 7919 + t * 104729) % 1_000_000, t) for u in range(users) for t in (1, 2)],
        )
        command = [sys.executable, "-c", PEAK, folder, file, tmp_path / "top.parquet"]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows, peak = map(int, done.stdout.split())
        assert rows == users * 20
        peaks.append(peak)
    assert peaks[1] - peaks[0] < 400 * 2**20
