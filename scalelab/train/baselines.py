"""Rank items without training: by popularity, recent popularity, and what followed the last item.

Each baseline gives an item a score that counts something in the training histories:

- `popularity`: how often the item occurs;
- `popularity_N_days`: how often it occurs in the last N days (`data.recent_days`) before the latest
  training interaction; only where times are clock times of a known unit;
- `last_item_follower`: how often it came directly after the user's last item.

The protocol is that of a model: all items are ranked, seen items are left out where
`data.exclude_seen` says so, and equal scores share their ranks (see `scalelab.train.ranking`).
Coverage is of the lists of items that were counted at all: the others are level, so no list names
one before another. There, of equal counts the smaller item number comes first. Most scores are 0
and only the others are kept: a user's cost grows with the history, not with the catalog.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numba import njit

from scalelab.core.errors import DataError
from scalelab.core.records import Baseline
from scalelab.core.spec import DataSpec
from scalelab.datasets.interactions import Histories, Interactions
from scalelab.datasets.splits import HeldOut, Split
from scalelab.train.ranking import KS, ranking_metrics

__all__ = ["baseline_rows", "popularity_metrics"]

_DAY = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """Counts above 0, sparse: list r has `items[offsets[r]:offsets[r + 1]]`, ascending, with their
    `counts`; `ordered` holds the same counts of each list in ascending order. One list serves all
    users, or there is one per last item (0..num_items). `ranked` are the items of each list by
    falling count.
    """

    offsets: np.ndarray
    items: np.ndarray
    counts: np.ndarray
    ordered: np.ndarray
    ranked: np.ndarray

    @property
    def per_last_item(self) -> bool:
        return len(self.offsets) > 2


def baseline_rows(
    interactions: Interactions,
    split: Split,
    data: DataSpec,
    *,
    data_fingerprint: str,
    protocol: str,
    ks: tuple[int, ...] = KS,
) -> tuple[Baseline, ...]:
    """The rows of the ledger's table `baselines` for a data set and protocol.

    `seconds` is what a baseline's scores and its ranking took, the same in all its rows of a split.
    """
    rows = []
    for name, make in _baselines(interactions, split, data).items():
        began = time.perf_counter()
        scores = make()
        made_s = time.perf_counter() - began
        for which, held_out in (("valid", split.valid), ("test", split.test)):
            began = time.perf_counter()
            metrics = _metrics(scores, held_out, data, num_items=split.num_items, ks=ks)
            seconds = made_s + time.perf_counter() - began
            rows += [
                Baseline(
                    data_fingerprint=data_fingerprint,
                    protocol=protocol,
                    name=name,
                    split=which,
                    metric=key.partition("@")[0],
                    k=int(key.partition("@")[2]),
                    value=value,
                    seconds=seconds,
                )
                for key, value in metrics.items()
            ]
    return tuple(rows)


def popularity_metrics(
    split: Split, held_out: HeldOut, data: DataSpec, ks: tuple[int, ...] = KS
) -> dict[str, float]:
    """`ndcg@k`, `hr@k`, `recall@k`, `mrr@k` of ranking `held_out` by occurrences in training."""
    scores = _counted(_items_of(split.train), split.num_items)
    return _metrics(scores, held_out, data, num_items=split.num_items, ks=ks)


def _baselines(
    interactions: Interactions, split: Split, data: DataSpec
) -> dict[str, Callable[[], _Scores]]:
    train, num_items = split.train, split.num_items
    found = {"popularity": lambda: _counted(_items_of(train), num_items)}
    times = interactions.times
    if times is not None and not interactions.time_is_order and interactions.time_unit in _DAY:
        recent = data.recent_days * _DAY[interactions.time_unit]
        found[data.recent_baseline] = lambda: _counted(
            _recent_items(train, times, recent), num_items
        )
    found["last_item_follower"] = lambda: _followers(train, num_items)
    return found


def _items_of(histories: Histories) -> np.ndarray:
    return histories.item_ids[_places(histories.starts, histories.ends)]


def _recent_items(histories: Histories, times: np.ndarray, duration: float) -> np.ndarray:
    places = _places(histories.starts, histories.ends)
    when = times[places]
    return histories.item_ids[places[when > when.max() - duration]]


def _counted(items: np.ndarray, num_items: int) -> _Scores:
    """One list for all users: how often each item occurs among `items`."""
    if len(items) < num_items:  # less memory than an entry an item
        some, counts = np.unique(items, return_counts=True)
    else:
        occurrences = np.bincount(items, minlength=num_items + 1)
        some = np.flatnonzero(occurrences)
        counts = occurrences[some]
    return _Scores(
        offsets=np.array([0, len(some)], np.int64),
        items=some.astype(np.int32),
        counts=counts,
        ordered=np.sort(counts),
        ranked=some[np.argsort(-counts, kind="stable")].astype(np.int32),
    )


def _followers(histories: Histories, num_items: int) -> _Scores:
    """A list per item: how often each item came directly after it in the training histories."""
    first = _places(histories.starts, np.maximum(histories.starts, histories.ends - 1))
    width = num_items + 1
    pairs = histories.item_ids[first].astype(np.int64) * width + histories.item_ids[first + 1]
    pairs, counts = np.unique(pairs, return_counts=True)
    before, after = np.divmod(pairs, width)
    offsets = np.zeros(width + 1, np.int64)
    np.cumsum(np.bincount(before, minlength=width), out=offsets[1:])
    return _Scores(
        offsets=offsets,
        items=after.astype(np.int32),
        counts=counts,
        ordered=counts[np.lexsort((counts, before))],
        ranked=after[np.lexsort((-counts, before))].astype(np.int32),
    )


def _places(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """starts[0], ..., ends[0] - 1, starts[1], ..., ends[1] - 1, ...: int64."""
    lengths = ends - starts
    before = np.cumsum(lengths) - lengths
    return np.arange(int(lengths.sum())) + np.repeat(starts - before, lengths)


def _metrics(
    scores: _Scores, held_out: HeldOut, data: DataSpec, *, num_items: int, ks: tuple[int, ...]
) -> dict[str, float]:
    rows = held_out.evaluated(data.max_eval_users)
    if len(rows) == 0:
        raise DataError(
            "no user can be evaluated",
            "the split leaves no held-out target; change data.split or data.cut",
        )
    histories = held_out.histories
    above, ties = np.empty(len(rows), np.int64), np.empty(len(rows), np.int64)
    repeated = np.empty(len(rows), np.bool_)
    _rank(
        np.ascontiguousarray(histories.item_ids),
        histories.starts[rows],
        histories.ends[rows],
        held_out.targets[rows],
        num_items,
        data.exclude_seen,
        scores.per_last_item,
        scores.offsets,
        scores.items,
        scores.counts,
        scores.ordered,
        above,
        ties,
        repeated,
    )
    groups = held_out.users[rows] if held_out.as_sets else None
    metrics = ranking_metrics(above, ties, repeated if data.exclude_seen else None, ks, groups)
    best = _best_ranks(
        np.ascontiguousarray(histories.item_ids),
        histories.starts[rows],
        histories.ends[rows],
        num_items,
        data.exclude_seen,
        scores.per_last_item,
        scores.offsets,
        scores.ranked,
        max(ks),
    )
    return metrics | {f"coverage@{k}": float((best <= k).sum() / num_items) for k in ks}


@njit(nogil=True, cache=True)
def _best_ranks(
    item_ids, starts, ends, num_items, exclude_seen, per_last_item, offsets, ranked, longest
):
    """The best rank (from 1) of each item in anybody's list; above `longest` where in none."""
    best = np.full(num_items + 1, longest + 1, np.int64)
    found_by = np.zeros(num_items + 1, np.int64)
    for user in range(len(starts)):
        if exclude_seen:
            for at in range(starts[user], ends[user]):
                found_by[item_ids[at]] = user + 1
        row = item_ids[ends[user] - 1] if per_last_item else 0
        rank = 0
        for at in range(offsets[row], offsets[row + 1]):
            item = ranked[at]
            if exclude_seen and found_by[item] == user + 1:
                continue
            rank += 1
            if rank > longest:
                break
            best[item] = min(best[item], rank)
    return best


@njit(nogil=True, cache=True)
def _rank(
    item_ids,
    starts,
    ends,
    targets,
    num_items,
    exclude_seen,
    per_last_item,
    offsets,
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
        row = item_ids[ends[user] - 1] if per_last_item else 0
        begin, end = offsets[row], offsets[row + 1]
        score = _count_of(target, items, counts, begin, end)
        higher = end - _first_above(score, ordered, begin, end)
        if score > 0:
            level = end - higher - _first_above(score - 1, ordered, begin, end)
        else:
            level = num_items - (end - begin)
        repeated[user] = False
        # A repeat is taken out once.
        for item in np.unique(item_ids[starts[user] : ends[user]]):
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
