"""Take the targets of evaluation from a window of each user's history.

A window is what a user did between two moments, or what a session has after its first interaction.
`data.targets` says what of it is to be ranked:

- "last": its last interaction, from all before it;
- "successive": each of its interactions, one after the other, from all before it;
- "all": its items as one set, from what came before the window.
"""

from dataclasses import replace

import numpy as np
from numba import njit

from scalelab.datasets.interactions import Interactions
from scalelab.datasets.splits import HeldOut, held_out_at

__all__ = ["window_targets"]


def window_targets(
    interactions: Interactions,
    *,
    begins: np.ndarray,
    ends: np.ndarray,
    known: np.ndarray,
    targets: str,
) -> HeldOut:
    """The targets of windows `begins[u]..ends[u] - 1` of all users u; empty ones have none.

    A target needs a history: the first interaction of a user is never one, and with "all" a user
    whose window begins with it has none. `known` are the items of the training histories.
    """
    starts = interactions.offsets[:-1]
    first = np.maximum(begins, starts + 1)
    if targets == "last":
        users = np.flatnonzero(ends > first)
        return held_out_at(interactions, users=users, places=ends[users] - 1, known=known)
    from_start = begins if targets == "all" else first
    has_some = (ends > from_start) & (from_start > starts)
    users = np.flatnonzero(has_some)
    begin, lengths = from_start[users], (ends - from_start)[users]
    before = np.cumsum(lengths) - lengths
    places = np.arange(int(lengths.sum())) + np.repeat(begin - before, lengths)
    whose = np.repeat(users, lengths)
    if targets == "successive":
        return held_out_at(interactions, users=whose, places=places, known=known)
    is_first = _is_first(np.ascontiguousarray(interactions.item_ids), places, before, lengths)
    places, whose = places[is_first], whose[is_first]
    held_out = held_out_at(
        interactions, users=whose, places=places, known=known, ends=begins[whose]
    )
    return replace(held_out, as_sets=True)


@njit(nogil=True, cache=True)
def _is_first(item_ids, places, before, lengths):
    """Whether each place of a window is the first one with its item."""
    found = np.ones(len(places), dtype=np.bool_)
    for window in range(len(lengths)):
        items = item_ids[places[before[window]] : places[before[window]] + lengths[window]]
        # A stable sort keeps the order among equal items.
        order = np.argsort(items, kind="mergesort")
        for n in range(1, len(order)):
            if items[order[n]] == items[order[n - 1]]:
                found[before[window] + order[n]] = False
    return found
