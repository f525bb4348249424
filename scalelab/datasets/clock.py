"""Say when interactions took place, where their times are those of a clock."""

from typing import NamedTuple

import numpy as np

from scalelab.datasets.interactions import Interactions

__all__ = ["Clock", "clock_of"]

_DAY = {"s": 86_400, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}


class Clock(NamedTuple):
    """The time of each interaction (int64), and how many of its units a day has."""

    times: np.ndarray
    ticks_a_day: int


def clock_of(interactions: Interactions) -> Clock | None:
    """None where times are missing, are an order only or have no known unit."""
    times, unit = interactions.times, interactions.time_unit
    if times is None or interactions.time_is_order or unit not in _DAY:
        return None
    return Clock(times, _DAY[unit])
