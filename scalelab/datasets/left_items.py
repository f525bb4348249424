"""Find out whom a data set leaves no item: users who have had everything."""

from dataclasses import dataclass, field

import numpy as np
from numba import njit

from scalelab.datasets.interactions import Interactions
from scalelab.datasets.splits import Split, known_items

__all__ = ["LeftItems", "left_items"]


@dataclass(frozen=True, kw_only=True)
class LeftItems:
    """`user_of_all` is the first training history with all of the `num_trained` items that training
    has, None where none has them or nothing is known.

    `most_had[k]` is the number of different items that a test user has before the last k, the
    largest of all whose last k items training lacks; 0 where nobody had so many items as there are.
    """

    num_trained: int = 0
    user_of_all: int | None = None
    most_had: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))


def left_items(
    interactions: Interactions,
    split: Split,
    *,
    users: np.ndarray,
    whole: np.ndarray,
    untrained: np.ndarray,
) -> LeftItems:
    """What is left in the training histories of `split`, and for the test `users`, of whose items
    there are `whole` in all, `untrained` of them at the end."""
    train = split.train
    num_trained = int(known_items(interactions, train).sum())
    user_of_all = None
    marks = np.full(interactions.num_items + 1, -1, np.int64)
    for user in np.flatnonzero(train.lengths >= num_trained):
        had = _different(train.item_ids, train.starts[user], train.ends[user], user, marks)
        if had == num_trained:
            user_of_all = int(user)
            break
    # Whoever has more different items than are left has more rows than there are items.
    many = np.flatnonzero(whole > interactions.num_items)
    most_had = np.zeros(int(untrained[many].max(initial=0)) + 1, np.int64)
    marks[:] = -1
    for turn, place in enumerate(many):
        start, end = interactions.offsets[users[place]], interactions.offsets[users[place] + 1]
        hidden = min(int(untrained[place]), int(whole[place]) - 1)
        _take_most(interactions.item_ids, start, end, hidden, turn, marks, most_had)
    return LeftItems(num_trained=num_trained, user_of_all=user_of_all, most_had=most_had)


@njit(nogil=True, cache=True)
def _different(items, start, end, turn, marks):
    """How many different items a slice has; `marks` says in whose turn an item was seen last."""
    found = 0
    for at in range(start, end):
        if marks[items[at]] != turn:
            marks[items[at]] = turn
            found += 1
    return found


@njit(nogil=True, cache=True)
def _take_most(items, start, end, hidden, turn, marks, most):
    """Raise `most[k]` to the number of different items before the last k, for k up to `hidden`."""
    found = _different(items, start, end - hidden, turn, marks)
    for k in range(hidden, 0, -1):
        most[k] = max(most[k], found)
        item = items[end - k]
        if marks[item] != turn:
            marks[item] = turn
            found += 1
