"""Take the training targets before a history's held-out ones, to be ranked for as those are.

With the items a b c d e f of a user, of which e validates and f tests, `train-1` ranks d from a b c
and `train-2` ranks c from a b. These targets have been trained on: how much better they rank than
the held-out ones says how much of the fit carries over, position by position.
"""

import numpy as np

from scalelab.datasets.interactions import Interactions
from scalelab.datasets.splits import HeldOut, Split, held_out_at, known_items

__all__ = ["earlier_lengths", "earlier_targets"]


def earlier_lengths(test: np.ndarray, positions: int, test_items: int = 1) -> dict[str, np.ndarray]:
    """Lengths of the histories, from those of the test histories that are ranked for.

    `test_items` are those that the split keeps for test (`leave_one_out`). Positions that no
    history reaches are left out.
    """
    reached = min(positions, int(test.max(initial=0)) - test_items)  # `positions` has no limit
    found = {f"train-{back}": test - test_items - back for back in range(1, reached + 1)}
    return {name: some[some > 0] for name, some in found.items() if (some > 0).any()}


def earlier_targets(
    interactions: Interactions,
    split: Split,
    *,
    rows: np.ndarray,
    positions: int,
    test_items: int = 1,
) -> dict[str, HeldOut]:
    """The targets of the users that test ranks for (`rows`), for a split by leave-one-out."""
    if not positions:
        return {}
    test, known = split.test, known_items(interactions, split.train)
    lengths, ends = test.histories.lengths[rows], test.histories.ends[rows]
    found = {}
    for back, name in enumerate(earlier_lengths(lengths, positions, test_items), start=1):
        has_one = lengths - test_items - back > 0
        places = ends[has_one] - test_items - back
        found[name] = held_out_at(
            interactions, users=test.users[rows][has_one], places=places, known=known
        )
    return found
