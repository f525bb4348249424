"""Rank targets by counts that are kept sparse: a user's cost grows with the history alone."""

import numpy as np
from numba import njit

__all__ = [
    "best_places",
    "count_firsts",
    "count_from",
    "count_items",
    "gather_items",
    "gather_neighbours",
    "latest_time",
    "rank_targets",
]


@njit(nogil=True, cache=True)
def count_items(item_ids, starts, ends, times, first, counts_V):
    """Add up how often each item occurs after `first`; without times, at all."""
    for user in range(len(starts)):
        for at in range(starts[user], ends[user]):
            if len(times) == 0 or times[at] > first:
                counts_V[item_ids[at]] += 1


@njit(nogil=True, cache=True)
def gather_items(item_ids, starts, ends, times, first, found):
    """Write the items after `first` into `found`; without times, all. Returns their number."""
    number = 0
    for user in range(len(starts)):
        for at in range(starts[user], ends[user]):
            if len(times) == 0 or times[at] > first:
                found[number] = item_ids[at]
                number += 1
    return number


@njit(nogil=True, cache=True)
def count_firsts(item_ids, starts, ends, counts_V):
    """Add up of each item how often another one comes directly after it."""
    for user in range(len(starts)):
        for at in range(starts[user], ends[user] - 1):
            counts_V[item_ids[at]] += 1


@njit(nogil=True, cache=True)
def gather_neighbours(item_ids, starts, ends, begin, end, width, found):
    """Write two items in a row, of which the first is one of begin..end-1, into `found`: the first
    times `width` plus the second."""
    number = 0
    for user in range(len(starts)):
        for at in range(starts[user], ends[user] - 1):
            item = np.int64(item_ids[at])
            if begin <= item < end:
                found[number] = item * width + item_ids[at + 1]
                number += 1


@njit(nogil=True, cache=True)
def latest_time(times, starts, ends):
    """The latest time of the histories."""
    latest = np.iinfo(np.int64).min
    for user in range(len(starts)):
        for at in range(starts[user], ends[user]):
            latest = max(latest, times[at])
    return latest


@njit(nogil=True, cache=True)
def best_places(
    item_ids, starts, ends, num_items, exclude_seen, begins, list_ends, ranked, longest
):
    """`longest` + 1 less the best rank (from 1) of each item in anybody's list; 0 where in none.

    Zeros that nobody writes to take no memory, so that a large catalog costs what is shown of it.
    """
    best = np.zeros(num_items + 1, np.int32)
    for user in range(len(starts)):
        # Nothing is sorted where it is not looked at. Not np.unique: numba compiles it for seconds.
        seen = np.sort(item_ids[starts[user] : ends[user] if exclude_seen else starts[user]])
        rank = 0
        for at in range(begins[user], list_ends[user]):
            item = ranked[at]
            if exclude_seen:
                place = np.searchsorted(seen, item)
                if place < len(seen) and seen[place] == item:
                    continue
            rank += 1
            if rank > longest:
                break
            best[item] = max(best[item], longest + 1 - rank)
    return best


@njit(nogil=True, cache=True)
def count_from(values, least):
    """How many are `least` or more."""
    count = 0
    for value in values:
        count += value >= least
    return count


@njit(nogil=True, cache=True)
def rank_targets(
    item_ids,
    starts,
    ends,
    targets,
    num_items,
    exclude_seen,
    begins,
    list_ends,
    items,
    counts,
    ordered,
    above,
    ties,
    repeated,
):
    """How many items stand above each target and how many, itself included, level with it."""
    for user in range(len(targets)):
        target = targets[user]
        begin, end = begins[user], list_ends[user]
        score = _count_of(target, items, counts, begin, end)
        higher = end - _first_above(score, ordered, begin, end)
        if score > 0:
            level = end - higher - _first_above(score - 1, ordered, begin, end)
        else:
            level = num_items - (end - begin)
        repeated[user] = False
        history = np.sort(item_ids[starts[user] : ends[user]])
        for at in range(len(history)):
            item = history[at]
            if at > 0 and history[at - 1] == item:
                continue  # a repeat is taken out once
            if item == target:
                repeated[user] = True
            elif exclude_seen:
                seen_score = _count_of(item, items, counts, begin, end)
                higher -= seen_score > score
                level -= seen_score == score
        above[user] = higher
        ties[user] = level


@njit(nogil=True, cache=True)
def _count_of(item, items, counts, begin, end):
    """The count of `item` in the list that lies at begin..end-1; 0 where it is not in it."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if items[middle] < item:
            low = middle + 1
        else:
            high = middle
    return counts[low] if low < end and items[low] == item else 0


@njit(nogil=True, cache=True)
def _first_above(score, ordered, begin, end):
    """The first place of begin..end-1 with a count above `score`; `end` where there is none."""
    low, high = begin, end
    while low < high:
        middle = (low + high) // 2
        if ordered[middle] <= score:
            low = middle + 1
        else:
            high = middle
    return low
