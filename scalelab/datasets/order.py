"""Order interactions of the same time, and drop rows that repeat others."""

from dataclasses import replace

import numpy as np
from numba import njit

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.splits import HeldOut

__all__ = ["arrange", "tied_share", "tied_shares"]

_REASONS = {
    "exact": "rows with the user, item and time of another",
    "consecutive": "rows with the item of the row before",
}


def arrange(interactions: Interactions, *, ties: str, drop: str) -> Interactions:
    """The same with `ties` ("file", "hash") and `drop` ("none", "exact", "consecutive") applied.

    A hash of user and item orders what has the same time; it has nothing to do with the order of
    ids. Of rows that repeat each other the first stays. Raises DataError where times are missing
    that the request needs.
    """
    times = interactions.times
    if times is None and (ties == "hash" or drop == "exact"):
        needing = 'data.ties = "hash"' if ties == "hash" else 'data.drop = "exact"'
        raise DataError(
            f"{needing} needs times, and this data set has none",
            'leave it out; data.drop = "consecutive" needs no times',
        )
    if drop == "exact":
        interactions = _without(interactions, drop, _exact(*_parts(interactions)))
    if ties == "hash":
        item_ids = np.array(interactions.item_ids)
        _shuffle_ties(item_ids, interactions.offsets, interactions.times)
        interactions = replace(interactions, item_ids=item_ids)
    if drop == "consecutive":
        kept = _consecutive(interactions.item_ids, interactions.offsets)
        interactions = _without(interactions, drop, kept)
    return interactions


def tied_shares(interactions: Interactions, shortest: int) -> dict[str, float] | None:
    """How often an interaction has the time of the one before: of all neighbours, and of the last
    two of users with `shortest` interactions. None without times."""
    if interactions.times is None:
        return None
    pairs, tied, tests, tied_tests = _count_ties(interactions.times, interactions.offsets, shortest)
    return {
        "neighbours": tied / pairs if pairs else 0.0,
        "test_targets": tied_tests / tests if tests else 0.0,
    }


def tied_share(interactions: Interactions, held_out: HeldOut) -> float | None:
    """Which share of the targets has the time of the item before it. None without times."""
    if interactions.times is None:
        return None
    places = held_out.histories.ends
    return float((interactions.times[places] == interactions.times[places - 1]).mean())


def _parts(interactions: Interactions) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    return interactions.item_ids, interactions.offsets, interactions.times


def _without(interactions: Interactions, drop: str, kept: np.ndarray) -> Interactions:
    gone = int(len(kept) - kept.sum())
    if not gone:
        return interactions
    before = np.concatenate([[0], np.cumsum(kept)]).astype(np.int64)
    item_ids = np.asarray(interactions.item_ids)[kept]
    # Each item's first row stays, so that the catalog is the same.
    times = interactions.times
    return replace(
        interactions,
        item_ids=item_ids,
        offsets=before[interactions.offsets],
        times=None if times is None else np.asarray(times)[kept],
        dropped={**interactions.dropped, _REASONS[drop]: gone},
    )


@njit(nogil=True, cache=True)
def _run_end(times, start, end):
    """The end of the run of equal times that begins at `start`."""
    at = start + 1
    while at < end and times[at] == times[start]:
        at += 1
    return at


@njit(nogil=True, cache=True)
def _exact(item_ids, offsets, times):
    kept = np.ones(len(item_ids), dtype=np.bool_)
    for user in range(len(offsets) - 1):
        start = offsets[user]
        while start < offsets[user + 1]:
            end = _run_end(times, start, offsets[user + 1])
            if end - start > 1:
                # A stable sort keeps the file's order among equal items: the first one stays.
                order = np.argsort(item_ids[start:end], kind="mergesort")
                for place in range(1, len(order)):
                    if item_ids[start + order[place]] == item_ids[start + order[place - 1]]:
                        kept[start + order[place]] = False
            start = end
    return kept


@njit(nogil=True, cache=True)
def _consecutive(item_ids, offsets):
    kept = np.ones(len(item_ids), dtype=np.bool_)
    for user in range(len(offsets) - 1):
        for at in range(offsets[user] + 1, offsets[user + 1]):
            kept[at] = item_ids[at] != item_ids[at - 1]
    return kept


@njit(nogil=True, cache=True)
def _mixed(value):
    """splitmix64: numbers that are near come out far apart."""
    z = np.uint64(value) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@njit(nogil=True, cache=True)
def _shuffle_ties(item_ids, offsets, times):
    for user in range(len(offsets) - 1):
        begin, stop = offsets[user], offsets[user + 1]
        # The key of a user depends on what they had, not on the order of the file.
        whom = np.uint64(0)
        for at in range(begin, stop):
            whom += _mixed(item_ids[at])
        start = begin
        while start < stop:
            end = _run_end(times, start, stop)
            if end - start > 1:
                run = item_ids[start:end].copy()
                keys = np.empty(len(run), dtype=np.uint64)
                for place in range(len(run)):
                    keys[place] = _mixed(_mixed(run[place]) ^ whom)
                order = np.argsort(keys, kind="mergesort")
                for place in range(len(run)):
                    item_ids[start + place] = run[order[place]]
            start = end


@njit(nogil=True, cache=True)
def _count_ties(times, offsets, shortest):
    pairs, tied, tests, tied_tests = 0, 0, 0, 0
    for user in range(len(offsets) - 1):
        start, end = offsets[user], offsets[user + 1]
        for at in range(start + 1, end):
            pairs += 1
            tied += times[at] == times[at - 1]
        if end - start >= shortest:
            tests += 1
            tied_tests += times[end - 1] == times[end - 2]
    return pairs, tied, tests, tied_tests
