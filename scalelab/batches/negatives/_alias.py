"""Draw items by given weights in constant time, by the alias method."""

import numpy as np
from numba import njit

from scalelab.batches._random import fold, mix
from scalelab.batches.negatives import Catalog, Draw, Places
from scalelab.batches.negatives._rejection import (
    MAX_TRIES,
    check_something_left,
    clear_owned,
    is_owned,
    mark_owned,
)

__all__ = ["draw_by_weights"]


def draw_by_weights(weights_V: np.ndarray, catalog: Catalog, *, reject: bool) -> Draw:
    """The function of `Source.bind` for probabilities proportional to `weights_V` (float64).

    Row 0, padding, weighs nothing. Probabilities differ from that by at most 2^-32.
    """
    if reject:
        check_something_left(catalog, weights_V > 0)
    cells = np.empty(catalog.num_items, np.uint64)
    _fill_alias_cells(weights_V, cells)
    if not reject:  # only a draw that is repeated too often looks at the weights
        weights_V = np.empty(0)

    def draw(places: Places, ids: np.ndarray) -> None:
        histories = (catalog.items, catalog.starts, catalog.ends)
        owners = (places.owners, places.groups, places.first_group)
        _draw(ids, places.key, *owners, cells, weights_V, places.reject, *histories)

    return draw


@njit(nogil=True, cache=True)
def _fill_alias_cells(weights_V, cells):
    """Alias method (Walker, 1977; Vose, 1991): column i keeps item i + 1 or gives its alias.

    The upper half of a column is the probability to keep, in units of 2^-32; the lower the alias.
    """
    num_cells = len(cells)
    scaled = weights_V[1:] * (num_cells / weights_V.sum())
    most = np.argmax(scaled)
    # Columns below one fill up from the left of this array, those of one and more from the right.
    queue = np.empty(num_cells, np.int64)
    small, large = 0, num_cells
    for i in range(num_cells):
        if scaled[i] < 1.0:
            queue[small] = i
            small += 1
        else:
            large -= 1
            queue[large] = i
    while small > 0 and large < num_cells:
        small -= 1
        i, j = queue[small], queue[large]
        cells[i] = _cell(scaled[i], j)
        scaled[j] -= 1.0 - scaled[i]
        if scaled[j] < 1.0:
            large += 1
            queue[small] = j
            small += 1
    # What is left is full but for rounding; an item of no weight must still never be kept.
    for place in range(small):
        i = queue[place]
        cells[i] = _cell(1.0, i) if scaled[i] > 0.0 else _cell(0.0, most)
    for place in range(large, num_cells):
        cells[queue[place]] = _cell(1.0, queue[place])


@njit(nogil=True, cache=True)
def _cell(keep, alias):
    threshold = np.uint64(min(keep * 4294967296.0, 4294967295.0))
    return (threshold << np.uint64(32)) | np.uint64(alias + 1)


@njit(nogil=True, cache=True)
def _pick(x, cells):
    """The item that 64 random bits point at: the whole part of x * V / 2^64 is the column."""
    n, low, half = np.uint64(len(cells)), np.uint64(0xFFFFFFFF), np.uint64(32)
    product = (x >> half) * n + (((x & low) * n) >> half)
    index = product >> half
    cell = cells[index]
    return index + np.uint64(1) if (product & low) < (cell >> half) else cell & low


@njit(nogil=True, cache=True)
def _draw(ids, key, owners, groups, first_group, cells, weights_V, reject, items, starts, ends):
    owned = np.zeros(len(weights_V) // 64 + 1 if reject else 1, np.uint64)
    g = 0
    for q in range(len(owners)):
        owner = owners[q]
        owner_key = fold(key, owner)
        if reject:
            mark_owned(owned, items, starts[owner], ends[owner])
        for i in range(groups[q]):
            group_key = fold(owner_key, first_group[q] + i)
            for k in range(ids.shape[1]):
                x = fold(group_key, k)
                item = _pick(x, cells)
                if reject and is_owned(owned, item):
                    item = _again(x, cells, weights_V, owned)
                ids[g, k] = item
            g += 1
        if reject:
            clear_owned(owned, items, starts[owner], ends[owner])


@njit(nogil=True, cache=True)
def _again(x, cells, weights_V, owned):
    for _ in range(MAX_TRIES):
        x = fold(x, 1)
        item = _pick(x, cells)
        if not is_owned(owned, item):
            return item
    return _choose_among_rest(mix(x), weights_V, owned)


@njit(nogil=True, cache=True)
def _choose_among_rest(x, weights_V, owned):
    """Sum the weights that are left, then take the item that `x` points at."""
    left = 0.0
    for item in range(1, len(weights_V)):
        if not is_owned(owned, item):
            left += weights_V[item]
    point = np.float64(x >> np.uint64(11)) * 2.0**-53 * left
    last = 0
    for item in range(1, len(weights_V)):
        if weights_V[item] > 0.0 and not is_owned(owned, item):
            last = item
            point -= weights_V[item]
            if point < 0.0:
                break
    return np.uint64(last)
