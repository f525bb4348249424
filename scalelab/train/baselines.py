"""Rank items without training: by popularity, recent popularity, and what followed the last item.

Each baseline gives an item a score that counts something in the training histories:

- `popularity`: how often the item occurs;
- `popularity_N_days`: how often it occurs in the last N days (`data.recent_days`) before the latest
  training interaction; only where times are clock times of a known unit;
- `last_item_follower`: how often it came directly after the user's last item.

The protocol is that of a model: all items are ranked, seen items are left out where
`data.exclude_seen` says so, and equal scores share their ranks (see `scalelab.ranking.metrics`).
Coverage is of the lists of items that were counted at all: the others are level, so no list names
one before another. There, of equal counts the smaller item number comes first. Most scores are 0
and only the others are kept: a user's cost grows with the history, not with the catalog.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from scalelab.core.errors import DataError
from scalelab.core.records import Baseline
from scalelab.core.spec import DataSpec
from scalelab.datasets.clock import clock_of
from scalelab.datasets.interactions import Histories, Interactions
from scalelab.datasets.splits import HeldOut, Split
from scalelab.ranking.metrics import KS, ranking_metrics
from scalelab.train.baseline_kernels import (
    best_places,
    count_firsts,
    count_from,
    count_items,
    gather_items,
    gather_neighbours,
    latest_time,
    rank_targets,
)

__all__ = ["baseline_rows", "popularity_metrics"]

_NO_TIMES = np.empty(0, np.int64)
# Neighbours that are sorted together: so many, or a 64th of all, each for one walk over all items.
_PAIRS, _MOST_WALKS = 2**20, 64


@dataclass(frozen=True, kw_only=True)
class _Scores:
    """Counts above 0, sparse: `items`, ascending, with their `counts`; `ordered` holds the same
    counts in ascending order, `ranked` the items by falling count. One list serves all users, or
    there is one per last item: one behind the other, `before` says whose each count is.
    """

    items: np.ndarray
    counts: np.ndarray
    ordered: np.ndarray
    ranked: np.ndarray
    before: np.ndarray | None = None

    def lists(self, last_items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the lists of users with such last items begin and end."""
        if self.before is None:
            begins = np.zeros(len(last_items), np.int64)
            return begins, np.full_like(begins, len(self.items))
        begins, ends = (
            np.searchsorted(self.before, last_items, side) for side in ("left", "right")
        )
        return begins.astype(np.int64), ends.astype(np.int64)


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
    scores = _counted(split.train, split.num_items)
    return _metrics(scores, held_out, data, num_items=split.num_items, ks=ks)


def _baselines(
    interactions: Interactions, split: Split, data: DataSpec
) -> dict[str, Callable[[], _Scores]]:
    train, num_items = split.train, split.num_items
    found = {"popularity": lambda: _counted(train, num_items)}
    clock = clock_of(interactions)
    if clock is not None:
        times, duration = clock.times, data.recent_days * clock.ticks_a_day

        def recent() -> _Scores:
            latest = latest_time(times, train.starts, train.ends)
            return _counted(train, num_items, times, latest - duration)

        found[data.recent_baseline] = recent
    found["last_item_follower"] = lambda: _followers(train, num_items)
    return found


def _counted(
    histories: Histories, num_items: int, times: np.ndarray = _NO_TIMES, first: float = 0
) -> _Scores:
    """One list for all users: how often each item occurs, with `times` after `first`."""
    where = (histories.item_ids, histories.starts, histories.ends, times, first)
    total = int(histories.lengths.sum())
    if total < num_items:  # less memory than an entry an item
        found = np.empty(total, np.int32)
        some, counts = np.unique(found[: gather_items(*where, found)], return_counts=True)
    else:  # less than an entry an interaction, of which there may be more than memory holds
        occurrences = np.zeros(num_items + 1, np.int64)
        count_items(*where, occurrences)
        some = np.flatnonzero(occurrences)
        counts = occurrences[some]
    return _Scores(
        items=some.astype(np.int32),
        counts=counts,
        ordered=np.sort(counts),
        ranked=some[np.argsort(-counts, kind="stable")].astype(np.int32),
    )


def _followers(histories: Histories, num_items: int) -> _Scores:
    """A list per item: how often each item came directly after it in the training histories."""
    where, width = (histories.item_ids, histories.starts, histories.ends), num_items + 1
    found = []
    for begin, end, number in _ranges_of_firsts(histories, width):
        pairs = np.empty(number, np.int64)
        gather_neighbours(*where, begin, end, width, pairs)
        found.append(np.unique(pairs, return_counts=True))
    pairs, counts = (np.concatenate(parts) for parts in zip(*found, strict=True))
    before, after = np.divmod(pairs, width)
    return _Scores(
        items=after.astype(np.int32),
        counts=counts,
        ordered=counts[np.lexsort((counts, before))],
        ranked=after[np.lexsort((-counts, before))].astype(np.int32),
        before=before,
    )


def _ranges_of_firsts(histories: Histories, width: int) -> list[tuple[int, int, int]]:
    """Ranges of items, from the first to one after the last, and how many pairs of neighbours begin
    with one of them: about equally many, so that they need not be held all at once."""
    total = int(np.maximum(histories.lengths - 1, 0).sum())
    if total <= _PAIRS:
        return [(0, width, total)]
    counts_V = np.zeros(width, np.int64)
    count_firsts(histories.item_ids, histories.starts, histories.ends, counts_V)
    before_V = np.cumsum(counts_V) - counts_V
    wanted = np.arange(0, total, max(_PAIRS, -(-total // _MOST_WALKS)))
    edges = [*np.unique(np.searchsorted(before_V, wanted, "right") - 1).tolist(), width]
    edges[0] = 0
    return [(begin, end, int(counts_V[begin:end].sum())) for begin, end in pairwise(edges)]


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
    item_ids, starts = np.ascontiguousarray(histories.item_ids), histories.starts[rows]
    ends = histories.ends[rows]
    lists = scores.lists(item_ids[ends - 1])
    rank_targets(
        item_ids,
        starts,
        ends,
        held_out.targets[rows],
        num_items,
        data.exclude_seen,
        *lists,
        scores.items,
        scores.counts,
        scores.ordered,
        above,
        ties,
        repeated,
    )
    groups = held_out.users[rows] if held_out.as_sets else None
    metrics = ranking_metrics(
        above, ties, repeated if data.exclude_seen else None, ks, groups=groups
    )
    longest = max(ks)
    places = best_places(
        item_ids, starts, ends, num_items, data.exclude_seen, *lists, scores.ranked, longest
    )
    for k in ks:
        metrics[f"coverage@{k}"] = count_from(places, longest + 1 - k) / num_items
    return metrics
