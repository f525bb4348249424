"""Split all users at the same moments: train before the cut, validate and test after it."""

import math
from datetime import UTC, datetime

import numpy as np
from numba import njit

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Histories, Interactions
from scalelab.datasets.nth_time import count_before, nth_time
from scalelab.datasets.splits import HeldOut, Split, cut_time, known_items
from scalelab.datasets.windows import window_targets

__all__ = ["global_time", "moment"]

_A_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def moment(interactions: Interactions, cut: str | float, key: str) -> int:
    """The first time that is not before `cut`: a date (in UTC where it names no zone), a quantile
    between 0 and 1 of all times, or a time as the data have it. Raises DataError."""
    times = interactions.times
    if times is None or interactions.time_is_order:
        raise DataError(
            "a split by time needs clock times; here times are only the order within a user",
            'set data.split = "leave_one_out", or take a data set with timestamps',
        )
    if not isinstance(cut, str):
        return cut_time(times, cut) if 0 < cut < 1 else math.ceil(cut)
    if not interactions.time_unit:
        raise DataError(
            f"data.{key} = {cut!r}: the times of this data set have no known unit",
            f"set data.{key} to a quantile such as 0.9, or to a time as the data have it",
        )
    stated = datetime.fromisoformat(cut)
    stated = stated if stated.tzinfo is not None else stated.replace(tzinfo=UTC)
    past = stated - datetime(1970, 1, 1, tzinfo=UTC)
    micros = (past.days * 86_400 + past.seconds) * 10**6 + past.microseconds
    return -(-micros * _A_SECOND[interactions.time_unit] // 10**6)


def global_time(
    interactions: Interactions, cut: str | float, valid_cut: str | float, targets: str = "last"
) -> Split:
    """What all users did before `cut` trains; `valid_cut` ends the validation window.

    `targets` says what of a window is to be ranked (see `scalelab.datasets.windows`). An empty
    `valid_cut` is the middle of the interactions from the cut on. Raises DataError where a side is
    empty.
    """
    first = moment(interactions, cut, "cut")
    times, offsets = interactions.times, interactions.offsets
    assert times is not None
    if valid_cut == "":
        early = int(count_before(times, first))
        late = len(times) - early
        second = nth_time(times, early + late // 2) if late else first
    else:
        second = moment(interactions, valid_cut, "valid_cut")
        if second <= first:
            raise DataError(
                f"data.valid_cut = {valid_cut!r} is not after data.cut = {cut!r}",
                "set data.valid_cut to a later time or quantile",
            )
    trained, valid_ends, ends = _places(times, offsets, first, second)
    starts = offsets[:-1]
    took_part = np.flatnonzero(trained > starts)
    train = Histories(
        item_ids=interactions.item_ids, starts=starts[took_part], ends=trained[took_part]
    )
    known = known_items(interactions, train)
    parts: list[HeldOut] = [
        window_targets(interactions, begins=begins, ends=until, known=known, targets=targets)
        for begins, until in ((trained, valid_ends), (valid_ends, ends))
    ]
    for what, some in (("train", took_part), ("validate", parts[0]), ("test", parts[1])):
        if len(some) == 0:
            raise DataError(
                f"the cut at {cut!r} (time {first}, validation to {second}) leaves no user to "
                f"{what}",
                "change data.cut and data.valid_cut",
            )
    # A target needs a history; who begins with it cannot be ranked for.
    in_window = {"validation": valid_ends > trained, "test": ends > valid_ends}
    dropped = {
        f"{name} users without a history": int(present.sum()) - len(np.unique(part.users))
        for (name, present), part in zip(in_window.items(), parts, strict=True)
    }
    return Split(
        train=train,
        valid=parts[0],
        test=parts[1],
        dropped={reason: count for reason, count in dropped.items() if count},
        num_items=interactions.num_items,
    )


@njit(nogil=True, cache=True)
def _places(times, offsets, first, second):
    """For each user the first places at or after the two moments, and the end."""
    users = len(offsets) - 1
    trained, valid, ends = offsets[:-1].copy(), offsets[:-1].copy(), offsets[1:].copy()
    for user in range(users):
        at = offsets[user]
        while at < offsets[user + 1] and times[at] < first:
            at += 1
        trained[user] = at
        while at < offsets[user + 1] and times[at] < second:
            at += 1
        valid[user] = at
    return trained, valid, ends
