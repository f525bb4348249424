"""Targets of a window, and sessions split by their order, against plain loops over users."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.core.errors import DataError
from scalelab.core.spec import DataSpec
from scalelab.dataset_facts.describe import describe
from scalelab.datasets.by_session import by_session
from scalelab.datasets.global_time import global_time
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.load import Dataset, lengths, load, split
from scalelab.datasets.splits import HeldOut
from tests.datasets.conftest import timed_histories

Rows = list[tuple[int, list[int], int]]
"""User, history and target of each row."""


def rows_of(held_out: HeldOut) -> Rows:
    return [
        (int(user), held_out.histories[n].tolist(), int(target))
        for n, (user, target) in enumerate(zip(held_out.users, held_out.targets, strict=True))
    ]


def targets_by_force(user: int, items: list[int], begin: int, end: int, targets: str) -> Rows:
    """The window is items[begin:end]; nothing is ranked without a history."""
    first = max(begin, 1)
    if targets == "last":
        return [(user, items[: end - 1], items[end - 1])] if end > first else []
    if targets == "successive":
        return [(user, items[:at], items[at]) for at in range(first, end)]
    if begin == 0:
        return []
    return [(user, items[:begin], item) for item in dict.fromkeys(items[begin:end])]


@pytest.mark.parametrize("targets", ["last", "successive", "all"])
@given(whole=timed_histories(), first=st.integers(2, 12), width=st.integers(1, 8))
def test_windows_of_time_have_the_targets_of_a_plain_loop(targets, whole, first, width):
    whole = replace(whole, time_is_order=False)
    edges = (first, first + width, 10**9)
    expected: list[Rows] = [[], []]
    trained = False
    for user in range(whole.num_users):
        own = slice(whole.offsets[user], whole.offsets[user + 1])
        items, times = whole.item_ids[own].tolist(), whole.times[own]
        places = [int((times < edge).sum()) for edge in edges]
        trained |= places[0] > 0
        for part, (begin, end) in enumerate(pairwise(places)):
            expected[part] += targets_by_force(user, items, begin, end, targets)
    if not trained or not all(expected):
        with pytest.raises(DataError, match="leaves no user to"):
            global_time(whole, float(first), float(first + width), targets)
        return
    parts = global_time(whole, float(first), float(first + width), targets)
    for part, rows in zip((parts.valid, parts.test), expected, strict=True):
        assert rows_of(part) == rows
        assert part.as_sets == (targets == "all")
        assert part.num_repeated == sum(target in history for _, history, target in rows)


def sessions(clock: bool) -> Interactions:
    """Ten sessions of 1 to 6 items; by the clock they begin in another order than their numbers."""
    rng = np.random.default_rng(3)
    counts = np.array([2, 3, 6, 3, 4, 2, 5, 1, 3, 4])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    begins = rng.permutation(10) * 100 if clock else np.zeros(10, int)
    times = np.concatenate([begin + np.arange(n) for begin, n in zip(begins, counts, strict=True)])
    return Interactions(
        item_ids=rng.integers(1, 8, offsets[-1]).astype(np.int32),
        offsets=offsets,
        times=times,
        num_items=7,
        time_is_order=not clock,
        fingerprint="f",
        dropped={},
        time_unit="s" if clock else "",
    )


@pytest.mark.parametrize("clock", [False, True])
@pytest.mark.parametrize("targets", ["last", "successive", "all"])
@pytest.mark.parametrize(
    ("cut", "valid_cut", "first", "second"),
    [(0.6, 0.8, 6, 8), (0.55, "", 6, 8), (5, 7, 5, 7), (3, "", 3, 7)],
)
def test_later_sessions_are_held_out_whole(clock, targets, cut, valid_cut, first, second):
    whole = sessions(clock)
    begins = whole.times[whole.offsets[:-1]]
    order = np.argsort(begins, kind="stable").tolist() if clock else list(range(10))
    parts = by_session(whole, cut, valid_cut, targets)
    whole_items = [whole.histories[u].tolist() for u in range(10)]
    trained = sorted(order[:first])
    assert [parts.train[n].tolist() for n in range(len(parts.train))] == [
        whole_items[u] for u in trained
    ]
    known = {item for u in trained for item in whole_items[u]}
    for part, those in ((parts.valid, order[first:second]), (parts.test, order[second:])):
        rows = [
            row
            for u in sorted(those)
            for row in targets_by_force(u, whole_items[u], 1, len(whole_items[u]), targets)
        ]
        assert rows_of(part) == rows
        assert part.num_unseen == sum(target not in known for _, _, target in rows)
    alone = sum(len(whole_items[u]) < 2 for u in order[first:])
    assert sum(parts.dropped.values()) == alone


@pytest.mark.parametrize("share", [0.07, 0.14, 0.28, 0.29, 0.55, 0.56, 0.57, 0.58])
def test_a_share_of_a_hundred_sessions_is_that_many(share):
    """In floats 0.55 * 100 is above 55."""
    number = round(100 * share)
    whole = Interactions(
        item_ids=np.tile(np.array([1, 2], np.int32), 100),
        offsets=np.arange(0, 201, 2),
        times=np.zeros(200, int),
        num_items=2,
        time_is_order=True,
        fingerprint="f",
        dropped={},
    )
    assert len(by_session(whole, share, "").train) == number


@pytest.mark.parametrize(("ids", "first"), [((9, 3, 5, 1), [4, 2]), (("i", "c", "e", "a"), [1, 2])])
def test_sessions_without_clock_times_go_by_number_or_by_first_appearance(tmp_path, ids, first):
    """Session `n` has item `n` alone, twice; items are numbered by first appearance."""
    rows = "".join(f"{session},x{n}\n" * 2 for n, session in enumerate(ids))
    (tmp_path / "log.csv").write_text("user,item\n" + rows)
    whole = load(DataSpec(path=str(tmp_path / "log.csv"), time="order", split="sessions"))
    parts = by_session(whole, 2, 3)
    assert [parts.train[n].tolist()[0] for n in range(2)] == first


def test_sessions_with_clock_times_are_cut_at_a_date():
    whole = sessions(clock=True)
    parts = by_session(whole, "1970-01-01T00:05:00", "1970-01-01T00:10:00")
    begins = whole.times[whole.offsets[:-1]]
    assert len(parts.train) == int((begins < 300).sum())
    assert set(parts.test.users) <= set(np.flatnonzero(begins >= 600))


@pytest.mark.parametrize(
    ("cut", "valid_cut"), [(0.999, ""), (9, ""), (5, 5), (5, 3), (5, 10), (20, 30)]
)
def test_a_side_without_sessions_is_refused_in_one_line(cut, valid_cut):
    with pytest.raises(DataError, match="would train") as caught:
        by_session(sessions(clock=False), cut, valid_cut)
    assert "\n" not in caught.value.message
    assert caught.value.hint


@pytest.fixture
def file(tmp_path) -> str:
    path = tmp_path / "clicks.csv"
    lines = [f"{u},{(u * k + k) % 9}\n" for u in range(20) for k in range(2 + u % 4)]
    path.write_text("user,item\n" + "".join(lines))
    return str(path)


def test_every_event_of_a_held_out_session_is_a_target_unless_told_otherwise(file):
    spec = DataSpec(path=file, split="sessions", cut=10, valid_cut=14)
    counts = np.diff(load(spec).offsets)
    parts = split(load(spec), spec)
    assert len(parts.test) == int((counts[14:] - 1).sum())
    last = spec.model_copy(update={"targets": "last"})
    assert len(split(load(last), last).test) == 6
    facts = describe(Dataset(spec))["splits"]["sessions"]
    assert facts["training_users"] == 10
    assert facts["test"]["targets"] == len(parts.test)


def test_several_targets_need_a_window(file):
    spec = DataSpec(path=file, targets="all")
    with pytest.raises(DataError, match="needs a window") as caught:
        split(load(spec), spec)
    assert "sessions" in (caught.value.hint or "")


@pytest.mark.parametrize("max_users", [0, 1, 3])
def test_lengths_know_the_rows_of_the_users_that_are_evaluated(file, max_users):
    spec = DataSpec(path=file, split="sessions", cut=10, valid_cut=14, max_eval_users=max_users)
    known, parts = lengths(spec), split(load(spec), spec)
    evaluated = known.evaluated(max_users)
    for name, part in (("valid", parts.valid), ("test", parts.test)):
        rows = part.evaluated(max_users)
        assert evaluated[name].tolist() == part.histories.lengths[rows].tolist()
        assert len(set(part.users[rows])) == (max_users or len(set(part.users)))
    assert known.num_eval_users == len(set(parts.test.users[parts.test.evaluated(max_users)]))
