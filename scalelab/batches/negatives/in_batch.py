"""Draw targets of the other sequences of the same step, so in proportion to popularity."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit

from scalelab.batches._random import below, fold, mix
from scalelab.batches.negatives import Catalog, Draw, Places
from scalelab.batches.negatives._rejection import MAX_TRIES, clear_owned, is_owned, mark_owned

__all__ = ["InBatch"]


@dataclass(frozen=True, kw_only=True)
class InBatch:
    """Each of the step's other targets alike, with replacement; per batch, each of all targets.

    Where there is none (a last step of one sequence, or a user who has all of them and rejects
    them), the place stays empty: id 0, padding, as `losses.Negatives` has it.
    """

    exponent: ClassVar[float] = 1.0

    def bind(self, catalog: Catalog, *, reject: bool) -> Draw:
        """See `Source.bind`."""

        def draw(places: Places, ids: np.ndarray) -> None:
            owners = (places.owners, places.groups, places.first_group)
            step = (places.step_begin, places.step_end, places.own_begin, places.own_end)
            histories = (catalog.items, catalog.starts, catalog.ends, catalog.num_items)
            _draw(ids, places.key, *owners, places.targets_N, *step, places.reject, *histories)

        return draw


@njit(nogil=True, cache=True)
def _draw(
    ids,
    key,
    owners,
    groups,
    first_group,
    targets_N,
    step_begin,
    step_end,
    own_begin,
    own_end,
    reject,
    items,
    starts,
    ends,
    num_items,
):
    owned = np.zeros(num_items // 64 + 1 if reject else 1, np.uint64)
    g = 0
    for q in range(len(owners)):
        owner = owners[q]
        owner_key = fold(key, owner)
        own = own_end[q] - own_begin[q]
        others = np.uint64(step_end[q] - step_begin[q] - own)
        if reject:
            mark_owned(owned, items, starts[owner], ends[owner])
        for i in range(groups[q]):
            group_key = fold(owner_key, first_group[q] + i)
            for k in range(ids.shape[1]):
                x = fold(group_key, k)
                item = _pick(x, others, targets_N, step_begin[q], own_begin[q], own)
                if reject and is_owned(owned, item):
                    item = _again(x, others, targets_N, step_begin[q], own_begin[q], own, owned)
                ids[g, k] = item
            g += 1
        if reject:
            clear_owned(owned, items, starts[owner], ends[owner])


@njit(nogil=True, cache=True)
def _pick(x, others, targets_N, step_begin, own_begin, own):
    if others == np.uint64(0):
        return np.int64(0)
    place = step_begin + np.int64(below(x, others))
    return targets_N[place + own if place >= own_begin else place]


@njit(nogil=True, cache=True)
def _again(x, others, targets_N, step_begin, own_begin, own, owned):
    for _ in range(MAX_TRIES):
        x = fold(x, 1)
        item = _pick(x, others, targets_N, step_begin, own_begin, own)
        if not is_owned(owned, item):
            return item
    return _choose_among_rest(mix(x), others, targets_N, step_begin, own_begin, own, owned)


@njit(nogil=True, cache=True)
def _choose_among_rest(x, others, targets_N, step_begin, own_begin, own, owned):
    """Count the targets that are left, then take the one that `x` points at; 0 where none is."""
    left = np.uint64(0)
    skip = np.uint64(0)
    for counting in (True, False):
        for i in range(others):
            place = step_begin + np.int64(i)
            item = targets_N[place + own if place >= own_begin else place]
            if is_owned(owned, item):
                continue
            if counting:
                left += np.uint64(1)
            elif skip == np.uint64(0):
                return item
            else:
                skip -= np.uint64(1)
        if counting:
            if left == np.uint64(0):
                break
            skip = below(x, left)
    return np.int64(0)
