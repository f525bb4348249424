"""Fingerprints, names of data sets, the compact format, and facts."""

import json
import math
import os
from types import SimpleNamespace

import numpy as np
import pytest

from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import DataSpec, RunSpec
from scalelab.dataset_facts.describe import describe
from scalelab.datasets.convert import convert
from scalelab.datasets.load import Dataset, fingerprint, lengths, load, split
from scalelab.datasets.request import request
from scalelab.train.data import load_data
from tests.datasets.conftest import write_rows

ROWS = "user,item,ts\n" + "".join(
    f"{u},{(u * 3 + t) % 7},{u + 10 * t}\n" for u in range(6) for t in range(5)
)


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text(ROWS)
    return path


def test_a_fingerprint_is_of_content_options_and_filters_not_of_place(rows, tmp_path):
    first = fingerprint(DataSpec(path=str(rows)))
    moved = tmp_path / "elsewhere.csv"
    moved.write_text(ROWS)
    assert fingerprint(DataSpec(path=str(moved))) == first
    assert load(DataSpec(path=str(rows))).fingerprint == first
    assert fingerprint(DataSpec(path=str(rows), min_item_count=1)) == first
    others = {
        fingerprint(DataSpec(path=str(rows), min_item_count=2)),
        fingerprint(DataSpec(path=str(rows), min_user_count=2)),
        fingerprint(DataSpec(path=str(rows), where="item > 2")),
    }
    moved.write_text(ROWS + "0,1,99\n")
    others.add(fingerprint(DataSpec(path=str(moved))))
    assert len(others | {first}) == 5


def test_a_name_is_looked_for_under_the_data_folder(rows, plain_environment, monkeypatch):
    root = plain_environment / "sets"
    for place in ("one/interactions.csv", "two.csv", "three/three.csv"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_text(ROWS)
    (root / "empty").mkdir()
    with pytest.raises(DataError, match="no data set at 'one'") as caught:
        load(DataSpec(path="one"))
    assert "SCALELAB_DATA" in caught.value.hint
    monkeypatch.setenv("SCALELAB_DATA", str(root))
    for name in ("one", "two", "three", str(root / "one"), str(root / "two.csv")):
        assert load(DataSpec(path=name)).num_interactions == 30
    with pytest.raises(DataError, match=r"searched .*sets"):
        load(DataSpec(path="four"))
    with pytest.raises(DataError, match="no data set in the folder"):
        load(DataSpec(path="empty"))


@pytest.mark.parametrize("filters", [{}, {"min_item_count": 4, "min_user_count": 2}])
def test_a_converted_set_is_the_same_set(rows, tmp_path, filters):
    spec = DataSpec(path=str(rows), **filters)
    out = tmp_path / "compact"
    facts = convert(Dataset(spec), out)
    first, second = load(spec), load(DataSpec(path=str(out)))
    for name in ("item_ids", "offsets", "times"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert isinstance(getattr(second, name), np.memmap)
    assert first.fingerprint == second.fingerprint == facts["fingerprint"]
    assert fingerprint(DataSpec(path=str(out))) == first.fingerprint
    assert second.dropped == first.dropped
    assert sorted(os.listdir(tmp_path)) == ["compact", "rows.csv"]
    assert fingerprint(DataSpec(path=str(out), min_user_count=3)) == fingerprint(
        DataSpec(path=str(rows), min_user_count=3)
    ) or bool(filters)


@pytest.mark.slow
def test_a_synthetic_set_keeps_its_oracle_when_written(tmp_path):
    spec = DataSpec(reader="synthetic", num_users=200, num_items=500)
    out = tmp_path / "compact"
    convert(Dataset(spec), out)
    written = DataSpec(path=str(out))
    first, second = split(load(spec), spec), split(load(written), written)
    assert first.oracle_metrics((5, 10)) == second.oracle_metrics((5, 10))
    np.testing.assert_array_equal(lengths(spec).train, lengths(written).train)
    few = DataSpec(path=str(out), max_eval_users=20)
    assert split(load(few), few).oracle_metrics((10,)) != first.oracle_metrics((10,))
    filtered = DataSpec(reader="synthetic", num_users=200, num_items=500, min_item_count=3)
    assert split(load(filtered), filtered).oracle_metrics((10,)) == {}


def test_converting_replaces_its_own_and_spares_all_else(rows, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "diary.txt").write_text("mine")
    with pytest.raises(DataError, match="not a data set in compact format"):
        convert(Dataset(DataSpec(path=str(rows))), out)
    assert os.listdir(out) == ["diary.txt"]
    (out / "diary.txt").unlink()
    convert(Dataset(DataSpec(path=str(rows))), out)
    convert(Dataset(DataSpec(reader="synthetic", num_users=10)), out)
    assert load(DataSpec(path=str(out))).num_users == 10


def test_a_failed_conversion_leaves_nothing(tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("user,item,ts\n1,2,nan\n")
    with pytest.raises(DataError):
        convert(Dataset(DataSpec(path=str(bad))), tmp_path / "out")
    assert os.listdir(tmp_path) == ["bad.csv"]


@pytest.mark.parametrize(
    "damage", ["short", "ids", "offsets", "meta", "version", "pickle", "names"]
)
def test_a_damaged_compact_form_is_refused(rows, tmp_path, damage):
    out = tmp_path / "out"
    convert(Dataset(DataSpec(path=str(rows))), out)
    ids, offsets = np.load(out / "item_ids.npy"), np.load(out / "offsets.npy")
    meta = json.loads((out / "meta.json").read_text())
    if damage == "short":
        np.save(out / "item_ids.npy", ids[:-1])
    elif damage == "ids":
        np.save(out / "item_ids.npy", ids + 1)
    elif damage == "offsets":
        np.save(out / "offsets.npy", offsets[::-1].copy())
    elif damage == "pickle":
        np.save(out / "item_ids.npy", np.array([{}] * len(ids), dtype=object), allow_pickle=True)
    elif damage == "names":
        (out / "item_ids.parquet").unlink()
    elif damage == "meta":
        del meta["num_items"]
    else:
        meta["version"] = 99
    (out / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(DataError):
        load(DataSpec(path=str(out)))


def test_a_generator_takes_no_file(rows):
    with pytest.raises(SpecError, match="reads no file"):
        load(DataSpec(reader="synthetic", path=str(rows)))


def test_lengths_of_a_file_are_those_of_its_split(rows):
    spec = DataSpec(path=str(rows), max_eval_users=4)
    known, parts = lengths(spec), split(load(spec), spec)
    np.testing.assert_array_equal(known.train, parts.train.lengths)
    assert known.num_eval_users == 4


def test_facts_are_counted_and_can_be_written_as_json(rows):
    facts = describe(Dataset(DataSpec(path=str(rows), min_user_count=2)))
    assert (facts["users"], facts["items"], facts["interactions"]) == (6, 7, 30)
    assert facts["lengths"]["median"] == 5
    assert facts["repeated"]["interactions"] == 0
    assert facts["splits"]["leave_one_out"]["test"]["targets"] == 6
    assert facts["splits"]["temporal"]["cut_time"] == 44
    assert json.loads(json.dumps(facts)) == facts
    assert math.isclose(facts["density"], 30 / 42)


def test_facts_say_why_a_split_is_refused(tmp_path):
    spec = DataSpec(reader="sequences", path=str(write_rows(tmp_path, "sequences")))
    facts = describe(Dataset(spec))
    assert "needs clock times" in facts["splits"]["temporal"]["refused"]
    assert facts["splits"]["leave_one_out"]["dropped"] == {
        "users too short to be evaluated (trained on whole)": 1
    }


@pytest.mark.parametrize(("counts", "gini"), [([5, 5, 5, 5], 0.0), ([0, 0, 0, 8], 0.75)])
def test_gini(counts, gini):
    from scalelab.dataset_facts.describe import gini as found

    assert found(np.array(counts)) == pytest.approx(gini)


@pytest.mark.slow
def test_one_load_reads_meta_json_once(tmp_path, monkeypatch):
    from scalelab.datasets import compact, locate

    convert(Dataset(DataSpec(reader="synthetic", num_users=50, num_items=500)), tmp_path / "made")
    counts = {"meta": 0, "located": 0}
    read, find = compact.json.loads, locate._inside

    def loads(text):
        counts["meta"] += 1
        return read(text)

    def inside(root):
        counts["located"] += 1
        return find(root)

    monkeypatch.setattr(compact, "json", SimpleNamespace(loads=loads))
    monkeypatch.setattr(locate, "_inside", inside)
    run = RunSpec.build({"data": {"path": str(tmp_path / "made")}})
    data = load_data(run)
    assert data.split.oracle_metrics((10,))
    assert counts == {"meta": 1, "located": 1}
    assert describe(Dataset(run.data))["splits"]["leave_one_out"]["oracle_ndcg@10"] > 0
    assert counts == {"meta": 2, "located": 2}
    request(tmp_path / "made", None, {}).load()
    assert counts == {"meta": 3, "located": 3}


def test_a_file_is_located_and_read_once_for_its_fingerprint_and_its_histories(rows, monkeypatch):
    from scalelab.datasets import locate
    from scalelab.datasets.readers import table

    counts = {"located": 0, "read": 0}
    find, read = locate._inside, table.read_rows

    def inside(root):
        counts["located"] += 1
        return find(root)

    def read_rows(*args, **options):
        counts["read"] += 1
        return read(*args, **options)

    monkeypatch.setattr(locate, "_inside", inside)
    monkeypatch.setattr(table, "read_rows", read_rows)
    dataset = request(rows, None, {})
    assert dataset.fingerprint == dataset.load().fingerprint
    assert counts == {"located": 1, "read": 1}


@pytest.mark.parametrize("how", ["leave_one_out", "sessions"])
def test_lengths_count_the_interactions_whatever_the_split(how):
    """The generated data are counted without drawing an item, the others as they are read."""
    sizes = {"data.num_items": 500, "data.num_users": 200, "data.num_interactions": 4000}
    data = RunSpec.load("sasrec-synthetic", sizes | {"data.split": how}).data
    assert lengths(data).num_interactions == load(data).num_interactions > 3500
