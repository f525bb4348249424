"""Drop rare items and short users until nothing changes: the k-core."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numba import njit

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions

__all__ = ["keep_core"]

_FindIds = Callable[[], np.ndarray]


def keep_core(
    interactions: Interactions, *, min_item_count: int, min_user_count: int
) -> Interactions:
    """Every item at least `min_item_count` and every user `min_user_count` times, to a fixed point.

    The largest such subset, whatever the order of dropping. Items and users keep their order and
    are numbered anew. Minima of 0 and 1 drop nothing. Raises DataError when nothing is left.
    """
    if min_item_count <= 1 and min_user_count <= 1:
        return interactions
    item_counts = np.zeros(interactions.num_items + 1, dtype=np.int64)
    lengths = np.diff(interactions.offsets)
    items_kept = np.ones(len(item_counts), dtype=np.bool_)
    users_kept = np.ones(len(lengths), dtype=np.bool_)
    item_ids = interactions.item_ids
    while True:
        _count(item_ids, interactions.offsets, items_kept, users_kept, item_counts, lengths)
        rare_items = items_kept & (item_counts < max(min_item_count, 1))
        short_users = users_kept & (lengths < max(min_user_count, 1))
        items_kept &= ~rare_items
        users_kept &= ~short_users
        # Items never seen take no other item or user with them.
        if not (rare_items & (item_counts > 0)).any() and not (short_users & (lengths > 0)).any():
            break
    kept = int(lengths[users_kept].sum())
    if kept == 0:
        raise DataError(
            f"no interaction is left after min_item_count = {min_item_count} and "
            f"min_user_count = {min_user_count}",
            "lower data.min_item_count or data.min_user_count; the data set has "
            f"{interactions.num_interactions} interactions",
        )
    items_kept[0] = False
    new_ids = np.where(items_kept, np.cumsum(items_kept), 0).astype(np.int32)
    kept_ids = np.empty(kept, dtype=np.int32)
    times = interactions.times
    kept_times = np.empty(0 if times is None else kept, dtype=np.int64)
    old_times = np.empty(0, dtype=np.int64) if times is None else times
    _gather(item_ids, interactions.offsets, new_ids, users_kept, kept_ids, old_times, kept_times)
    offsets = np.concatenate([[0], np.cumsum(lengths[users_kept])]).astype(np.int64)
    dropped = {
        _reason("items", min_item_count): interactions.num_items - int(items_kept.sum()),
        _reason("users", min_user_count): interactions.num_users - int(users_kept.sum()),
        "interactions of dropped items or users": interactions.num_interactions - kept,
    }
    return replace(
        interactions,
        item_ids=kept_ids,
        offsets=offsets,
        times=None if times is None else kept_times,
        num_items=int(items_kept.sum()),
        find_original_ids=_of_kept(interactions.find_original_ids, items_kept[1:]),
        find_user_ids=_of_kept(interactions.find_user_ids, users_kept),
        dropped={**interactions.dropped, **{k: n for k, n in dropped.items() if n}},
    )


def _of_kept(find: _FindIds | None, kept: np.ndarray) -> _FindIds | None:
    return None if find is None else lambda: find()[kept]


def _reason(who: str, minimum: int) -> str:
    return (
        f"{who} with fewer than {minimum} interactions" if minimum > 1 else f"{who} left with none"
    )


@njit(nogil=True, cache=True)
def _count(item_ids, offsets, items_kept, users_kept, item_counts, lengths):
    """Count interactions of kept users with kept items, by item and by user."""
    item_counts[:] = 0
    for user in range(len(offsets) - 1):
        lengths[user] = 0
        if not users_kept[user]:
            continue
        for at in range(offsets[user], offsets[user + 1]):
            item = item_ids[at]
            if items_kept[item]:
                item_counts[item] += 1
                lengths[user] += 1


@njit(nogil=True, cache=True)
def _gather(item_ids, offsets, new_ids, users_kept, kept_ids, times, kept_times):
    filled = 0
    for user in range(len(offsets) - 1):
        if not users_kept[user]:
            continue
        for at in range(offsets[user], offsets[user + 1]):
            new = new_ids[item_ids[at]]
            if new > 0:
                kept_ids[filled] = new
                if len(times) > 0:
                    kept_times[filled] = times[at]
                filled += 1
