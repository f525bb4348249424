"""Hide the last items of test histories, to be ranked for one after the other.

With the items a b c d e of a user and two steps, `ahead-1` ranks d from a b c, and `ahead-2` ranks
e from a b c d. A roll-out puts what the model itself ranks first in the place of d before it ranks
e. All steps are of the same users: those who have an item before the hidden ones, and of whose
hidden items training has seen none.
"""

import numpy as np

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Histories, Interactions
from scalelab.datasets.known_users import training_places
from scalelab.datasets.splits import HeldOut, Split, held_out_at, known_items

__all__ = ["ahead_lengths", "ahead_targets", "whole_and_untrained"]


def whole_and_untrained(
    interactions: Interactions, train: Histories, users: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The length of each user's whole history, and how many items at its end training lacks."""
    starts, ends = interactions.offsets[users], interactions.offsets[users + 1]
    places = training_places(train, starts)
    trained = np.where(places < 0, 0, train.lengths[places])
    return ends - starts, ends - starts - trained


def ahead_lengths(whole: np.ndarray, untrained: np.ndarray, steps: int) -> dict[str, np.ndarray]:
    """Lengths of the histories that are ranked for at each step, from what `whole_and_untrained`
    says of the test users. Raises DataError where no user has enough items.
    """
    lengths = whole[_are_enough(whole, untrained, steps)]
    return {f"ahead-{step}": lengths - steps + step - 1 for step in range(1, steps + 1)}


def ahead_targets(
    interactions: Interactions, split: Split, rows: np.ndarray, steps: int
) -> dict[str, HeldOut]:
    """By step the targets of the users that test ranks for (`rows`). The place of a target is the
    end of its history. Raises DataError as `ahead_lengths` does.
    """
    if not steps:
        return {}
    users = np.unique(split.test.users[rows])
    users = users[_are_enough(*whole_and_untrained(interactions, split.train, users), steps)]
    ends, known = interactions.offsets[users + 1], known_items(interactions, split.train)
    return {
        f"ahead-{step}": held_out_at(
            interactions, users=users, places=ends - steps + step - 1, known=known
        )
        for step in range(1, steps + 1)
    }


def _are_enough(whole: np.ndarray, untrained: np.ndarray, steps: int) -> np.ndarray:
    enough = (untrained >= steps) & (whole > steps)
    if steps and not enough.any():
        raise DataError(
            f"evaluate.steps_ahead = {steps}: no test user has so many items at the end that "
            "training has not seen, and one before them",
            f"lower evaluate.steps_ahead; with leave_one_out set data.test_items = {steps}",
        )
    return enough
