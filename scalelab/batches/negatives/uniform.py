"""Draw every item of the catalog with the same probability."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numba import njit

from scalelab.batches._random import below, fold, mix
from scalelab.batches.negatives import Catalog, Draw, Places
from scalelab.batches.negatives._rejection import (
    MAX_TRIES,
    check_something_left,
    clear_owned,
    is_owned,
    mark_owned,
)

__all__ = ["Uniform"]


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """Items 1..num_items alike, with replacement. Relative bias at most num_items / 2^64."""

    exponent: ClassVar[float] = 0.0

    def bind(self, catalog: Catalog, *, reject: bool) -> Draw:
        """See `Source.bind`."""
        if reject:
            drawable_V = np.ones(catalog.num_items + 1, np.bool_)
            drawable_V[0] = False
            check_something_left(catalog, drawable_V)

        def draw(places: Places, ids: np.ndarray) -> None:
            histories = (catalog.items, catalog.starts, catalog.ends)
            owners = (places.owners, places.groups, places.first_group)
            _draw(ids, places.key, *owners, catalog.num_items, places.reject, *histories)

        return draw


@njit(nogil=True, cache=True)
def _draw(ids, key, owners, groups, first_group, num_items, reject, items, starts, ends):
    n = np.uint64(num_items)
    owned = np.zeros(num_items // 64 + 1 if reject else 1, np.uint64)
    g = 0
    for q in range(len(owners)):
        owner = owners[q]
        owner_key = fold(key, owner)
        if reject:
            mark_owned(owned, items, starts[owner], ends[owner])
        for i in range(groups[q]):
            group_key = fold(owner_key, first_group[q] + i)
            for k in range(ids.shape[1]):
                ids[g, k] = below(fold(group_key, k), n) + np.uint64(1)
            if reject:
                for k in range(ids.shape[1]):
                    if is_owned(owned, ids[g, k]):
                        ids[g, k] = _again(fold(group_key, k), n, owned)
            g += 1
        if reject:
            clear_owned(owned, items, starts[owner], ends[owner])


@njit(nogil=True, cache=True)
def _again(x, n, owned):
    for _ in range(MAX_TRIES):
        x = fold(x, 1)
        item = below(x, n) + np.uint64(1)
        if not is_owned(owned, item):
            return item
    return _choose_among_rest(mix(x), n, owned)


@njit(nogil=True, cache=True)
def _choose_among_rest(x, n, owned):
    """Count the items that are left, then take the one that `x` points at."""
    left = np.uint64(0)
    for item in range(np.uint64(1), n + np.uint64(1)):
        if not is_owned(owned, item):
            left += np.uint64(1)
    skip = below(x, left)
    for item in range(np.uint64(1), n + np.uint64(1)):
        if not is_owned(owned, item):
            if skip == np.uint64(0):
                return item
            skip -= np.uint64(1)
    return np.uint64(0)
