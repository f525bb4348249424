"""Split sessions by their order: the first ones train, later ones validate, the last ones test."""

import math

import numpy as np

from scalelab.core.errors import DataError
from scalelab.datasets.global_time import moment
from scalelab.datasets.interactions import Histories, Interactions
from scalelab.datasets.splits import Split, known_items
from scalelab.datasets.windows import window_targets

__all__ = ["by_session"]


def by_session(
    interactions: Interactions,
    cut: str | float,
    valid_cut: str | float,
    targets: str = "successive",
) -> Split:
    """The sessions before `cut` train whole, those before `valid_cut` validate, the others test.

    Each history is a session. Where times are clock times they are in the order of their first
    interactions. Else they are in the order of their ids where those are numbers, and in the order
    of first appearance where they are text. A cut is a share of the sessions (below 1), their
    number, or a date before which they begin. An empty `valid_cut` is the middle of the sessions
    from the cut on. What a session has after its first interaction is its window of targets. Raises
    DataError.
    """
    starts, ends = interactions.offsets[:-1], interactions.offsets[1:]
    order = _order(interactions)
    first = _number(interactions, cut, "cut", order)
    if valid_cut == "":
        second = (first + len(order) + 1) // 2
    else:
        second = _number(interactions, valid_cut, "valid_cut", order)
    if not 0 < first < second < len(order):
        raise DataError(
            f"of {len(order)} sessions {first} would train, {max(0, second - first)} validate and "
            f"{max(0, len(order) - second)} test; each must be 1 or more",
            "change data.cut and data.valid_cut: a share of the sessions, their number or a date",
        )
    trained = np.sort(order[:first])
    train = Histories(item_ids=interactions.item_ids, starts=starts[trained], ends=ends[trained])
    known = known_items(interactions, train)
    parts = []
    for name, sessions in (("validation", order[first:second]), ("test", order[second:])):
        until = starts.copy()
        until[sessions] = ends[sessions]
        held_out = window_targets(
            interactions, begins=starts + 1, ends=until, known=known, targets=targets
        )
        if len(held_out) == 0:
            raise DataError(
                f"no {name} session has two interactions", "change data.cut and data.valid_cut"
            )
        parts.append((f"{name} sessions of one interaction", held_out, len(sessions)))
    dropped = {
        reason: number - len(np.unique(held_out.users)) for reason, held_out, number in parts
    }
    return Split(
        train=train,
        valid=parts[0][1],
        test=parts[1][1],
        dropped={reason: count for reason, count in dropped.items() if count},
        num_items=interactions.num_items,
    )


def _order(interactions: Interactions) -> np.ndarray:
    """The sessions, the earliest first."""
    times = interactions.times
    if times is None or interactions.time_is_order:
        return np.arange(interactions.num_users)
    return np.argsort(times[interactions.offsets[:-1]], kind="stable")


def _number(interactions: Interactions, cut: str | float, key: str, order: np.ndarray) -> int:
    """How many sessions come before `cut`."""
    if isinstance(cut, str):
        begins = moment(interactions, cut, key)
        assert interactions.times is not None
        return int((interactions.times[interactions.offsets[:-1]] < begins).sum())
    # 0.55 * 100 is a little above 55 in floats.
    return math.ceil(round(cut * len(order), 9)) if 0 < cut < 1 else int(cut)
