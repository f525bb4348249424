"""Ties, repeats and the name of a data set."""

import json
import random

import numpy as np
import pytest

from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import DataSpec, RunSpec
from scalelab.dataset_facts.describe import describe
from scalelab.datasets.convert import convert
from scalelab.datasets.load import Dataset, load
from scalelab.datasets.order import arrange, tied_shares
from scalelab.datasets.request import request
from scalelab.train.data import load_data
from tests.datasets.conftest import interactions_of


def pages(seed=5):
    """Ratings sent five at a time, sorted by item as GroupLens ships them."""
    rng = random.Random(seed)
    rows = []
    for user in range(1, 101):
        items = rng.sample(range(1, 301), 25)
        for page in range(0, 25, 5):
            rows += [(user, i, 1200000000 + user * 5000 + page) for i in items[page : page + 5]]
    return sorted(rows)


def write(path, rows):
    path.write_text("user,item,ts\n" + "".join(f"{u},{i},{t}\n" for u, i, t in rows))
    return str(path)


def rising(interactions):
    steps = np.concatenate(
        [np.diff(interactions.histories[u]) > 0 for u in range(interactions.num_users)]
    )
    return steps.mean()


@pytest.mark.slow
def test_a_hash_takes_the_pattern_out_of_a_sorted_file(tmp_path):
    path = write(tmp_path / "sorted.csv", pages())
    by_file, by_hash = load(DataSpec(path=path)), load(DataSpec(path=path, ties="hash"))
    assert rising(by_file) > 0.8
    assert 0.45 < rising(by_hash) < 0.55
    np.testing.assert_array_equal(by_file.times, by_hash.times)
    shuffled = pages()
    random.Random(3).shuffle(shuffled)
    other = load(DataSpec(path=write(tmp_path / "shuffled.csv", shuffled), ties="hash"))
    np.testing.assert_array_equal(other.item_ids, by_hash.item_ids)
    assert by_file.fingerprint != by_hash.fingerprint
    for user in range(3):
        assert sorted(by_hash.histories[user]) == sorted(by_file.histories[user])


def test_two_users_have_no_common_order_of_tied_items():
    whole = interactions_of([[*range(1, 9), n] for n in range(9, 49)], [[1] * 8 + [2]] * 40)
    hashed = arrange(whole, ties="hash", drop="none")
    first = [tuple(hashed.histories[u][:8].tolist()) for u in range(40)]
    assert len(set(first)) == 40


@pytest.mark.parametrize(
    ("times", "neighbours", "targets"),
    [
        ([[1, 1, 2], [5, 6, 6]], 0.5, 0.5),
        ([[1, 2, 3], [4, 5, 6]], 0.0, 0.0),
        ([[1, 1, 1], [4, 4]], 1.0, 1.0),
        ([[1], [4, 4]], 1.0, 0.0),
    ],
)
def test_ties_are_counted(times, neighbours, targets):
    whole = interactions_of([list(range(1, len(t) + 1)) for t in times], times)
    assert tied_shares(whole, 3) == {"neighbours": neighbours, "test_targets": targets}


def test_facts_tell_ties_dates_and_the_unit(tmp_path):
    times = describe(Dataset(DataSpec(path=write(tmp_path / "rows.csv", pages()))))["times"]
    assert times["ties"] == {"neighbours": 20 / 24, "test_targets": 1.0}
    assert (times["unit"], times["first_date"]) == ("s", "2008-01-10T22:43:20Z")
    assert json.loads(json.dumps(times)) == times


@pytest.mark.slow
@pytest.mark.parametrize(
    ("drop", "rows", "left"),
    [
        ("exact", [(1, 5, 1), (1, 5, 1), (1, 6, 2), (1, 5, 3)], [1, 2, 1]),
        ("exact", [(1, 5, 1), (1, 6, 1), (1, 5, 1)], [1, 2]),
        ("exact", [(1, 5, 1), (2, 5, 1)], [1, 1]),
        ("consecutive", [(1, 5, 1), (1, 5, 2), (1, 6, 3), (1, 5, 4)], [1, 2, 1]),
        ("consecutive", [(1, 5, 1), (2, 5, 2), (2, 5, 3)], [1, 1]),
        ("none", [(1, 5, 1), (1, 5, 1)], [1, 1]),
    ],
)
def test_rows_that_occur_twice_can_be_dropped(tmp_path, drop, rows, left):
    spec = DataSpec(path=write(tmp_path / "rows.csv", rows), drop=drop)
    found = load(spec)
    assert found.item_ids.tolist() == left
    assert sum(found.dropped.values()) == len(rows) - len(left)
    assert found.times is not None
    assert len(found.times) == found.offsets[-1] == len(left)
    convert(Dataset(spec), tmp_path / "compact")
    assert load(DataSpec(path=str(tmp_path / "compact"))).fingerprint == found.fingerprint


@pytest.mark.parametrize("asked", [{"ties": "hash"}, {"drop": "exact"}])
def test_what_needs_times_says_so(tmp_path, asked):
    path = tmp_path / "rows.csv"
    path.write_text("user,item\n1,2\n1,2\n")
    with pytest.raises(DataError, match="needs times"):
        load(DataSpec(path=str(path), **asked))
    assert load(DataSpec(path=str(path), drop="consecutive")).num_interactions == 1


@pytest.mark.parametrize("setting", [{"ties": "random"}, {"drop": "all"}, {"name": 3}])
def test_bad_values_are_one_line(tmp_path, setting):
    path = write(tmp_path / "rows.csv", [(1, 2, 3)])
    with pytest.raises(SpecError) as caught:
        request(path, None, setting)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("ml-1m/ratings.dat", "ml-1m"),
        ("sets/otto/train.jsonl", "otto"),
        ("sets/shop/clicks.csv.gz", "shop"),
        ("sets/beauty/interactions.parquet", "beauty"),
        ("beauty.csv.zst", "beauty"),
        ("amazon-beauty", "amazon-beauty"),
        ("v1.2", "v1.2"),
        ("shop/*.csv", "shop"),
    ],
)
def test_a_data_set_is_called_by_its_file_or_folder(path, name):
    def spec(**more):
        return RunSpec(data=DataSpec(path=path, **more))

    assert spec().dataset == name
    assert spec(name="mine").dataset == "mine"
    assert spec(name="mine").fingerprint("d") == spec().fingerprint("d")
    assert spec(drop="exact").fingerprint("d") != spec().fingerprint("d")


@pytest.mark.parametrize("kind", ["text", "sparse", "dense"])
@pytest.mark.parametrize("minimum", [0, 3])
def test_the_files_own_ids_travel_with_the_compact_form(tmp_path, kind, minimum):
    names = {"text": lambda n: f'sku "{n}", é', "sparse": lambda n: 10 * n + 7, "dense": int}[kind]
    rows = [(u, (u * u + k) % 9, u + k) for u in range(12) for k in range(4)]
    path = tmp_path / "rows.jsonl"
    lines = [json.dumps({"user": u, "item": names(i), "ts": t}) for u, i, t in rows]
    path.write_text("\n".join(lines) + "\n")
    spec = DataSpec(path=str(path), min_item_count=minimum, min_user_count=minimum)
    found = load(spec)
    convert(Dataset(spec), tmp_path / "compact")
    again = load(DataSpec(path=str(tmp_path / "compact")))
    assert found.find_original_ids is not None
    assert again.find_original_ids is not None
    names_of_items = found.find_original_ids()
    assert again.find_original_ids().tolist() == names_of_items.tolist()
    assert len(names_of_items) == found.num_items
    # Users are whole numbers from 0, so history u is that of user u where none is dropped.
    if found.num_users == 12:
        for user in range(12):
            had = [names(i) for u, i, _ in rows if u == user]
            kept = [names_of_items[i - 1] for i in found.histories[user]]
            assert kept == [i for i in had if i in set(names_of_items.tolist())]


def test_a_generator_has_no_ids_of_its_own(tmp_path):
    convert(Dataset(DataSpec(reader="synthetic", num_users=30, num_items=500)), tmp_path / "out")
    assert not (tmp_path / "out" / "item_ids.parquet").exists()


@pytest.mark.parametrize(
    ("rows", "settings", "begins"),
    [
        ([(u, i, 5) for u in range(4) for i in range(4)], {}, ["ties: 100 %"]),
        ([(u, i, 5) for u in range(4) for i in range(4)], {"ties": "hash"}, []),
        ([(u, i % 3, i) for u in range(4) for i in range(4)], {}, ["repeats: 100 %"]),
        ([(u, i % 3, i) for u in range(4) for i in range(4)], {"exclude_seen": False}, []),
        ([(u, i % 3, 5) for u in range(4) for i in range(4)], {}, ["ties: 100 %", "repeats: 100"]),
        ([(u, i, i) for u in range(4) for i in range(4)], {}, []),
    ],
)
def test_what_limits_every_score_is_told_once(tmp_path, rows, settings, begins):
    spec = DataSpec(path=write(tmp_path / "rows.csv", rows), **settings)
    found = describe(Dataset(spec))["notes"]
    assert len(found) == len(begins)
    assert all(note.startswith(begin) for note, begin in zip(found, begins, strict=True))


def test_shares_of_tied_and_repeated_targets_are_those_of_the_split(tmp_path):
    # User 0 ends with a tie, user 1 with an item that they had, user 2 with neither.
    rows = [(0, 1, 1), (0, 2, 2), (0, 3, 3), (0, 4, 3)]
    rows += [(1, 1, 1), (1, 2, 2), (1, 3, 3), (1, 1, 4)]
    rows += [(2, 1, 1), (2, 2, 2), (2, 3, 3), (2, 4, 4)]
    run = RunSpec.build({"data": {"path": write(tmp_path / "rows.csv", rows)}})
    data = load_data(run)
    assert data.tied_targets == pytest.approx(1 / 3)
    assert data.repeated_targets == pytest.approx(1 / 3)
    test = describe(Dataset(run.data))["splits"]["leave_one_out"]["test"]
    assert test["share_with_the_time_of_the_item_before"] == pytest.approx(1 / 3)
