"""Check whether a drawn item is one of the user's own, so that it can be drawn anew."""

import numpy as np
from numba import njit

from scalelab.batches.negatives import Catalog, nothing_left

__all__ = ["MAX_TRIES", "check_something_left", "clear_owned", "is_owned", "mark_owned"]

# So often a draw is repeated before the source looks at every item for those that are left: a user
# who owns 90 % of all draws gets there once in 40,000 draws, and for no user does it never end.
MAX_TRIES = 100


@njit(nogil=True, cache=True)
def mark_owned(owned, items, start, end):
    """Set the bits (one an item, in words of 64) of a history."""
    for i in range(start, end):
        item = np.uint64(items[i])
        owned[item >> np.uint64(6)] |= np.uint64(1) << (item & np.uint64(63))


@njit(nogil=True, cache=True)
def clear_owned(owned, items, start, end):
    """Clear the words that a history set."""
    for i in range(start, end):
        owned[np.uint64(items[i]) >> np.uint64(6)] = np.uint64(0)


@njit(nogil=True, cache=True)
def is_owned(owned, item):
    """Whether the bit of an item (integer) is set."""
    i = np.uint64(item)
    return (owned[i >> np.uint64(6)] >> (i & np.uint64(63))) & np.uint64(1) != np.uint64(0)


def check_something_left(catalog: Catalog, drawable: np.ndarray) -> None:
    """Raise DataError if some user has every one of the `drawable` items (bool, (V,))."""
    wanted = np.count_nonzero(drawable)
    for user in np.flatnonzero(catalog.ends - catalog.starts >= wanted):
        history = np.unique(catalog.items[catalog.starts[user] : catalog.ends[user]])
        if np.count_nonzero(drawable[history]) == wanted:
            raise nothing_left(int(user), int(wanted))
