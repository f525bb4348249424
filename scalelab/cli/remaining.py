"""Estimate the time to the end of a sweep, as a range, from predictions and finished runs."""

import math
from collections.abc import Iterable

from scalelab.core.events import Planned

__all__ = ["Remaining"]


class Remaining:
    """Sums over runs, so that an estimate needs no pass over all of them."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._waiting_s = 0.0
        self._waiting_unknown = 0
        self._predicted_s = 0.0
        self._measured_s = 0.0
        self._elapsed_s = 0.0
        self._ended = 0
        # The widest range of a prediction, as factors of the prediction.
        self._spread = (1.0, 1.0)

    def add(self, run: Planned) -> None:
        """`run` waits."""
        self._wait(run, 1)
        if run.predicted_s and run.predicted_range_s:
            low, high = (each / run.predicted_s for each in run.predicted_range_s)
            self._spread = min(low, self._spread[0]), max(high, self._spread[1])

    def remove(self, run: Planned) -> None:
        """`run` waits no more."""
        self._wait(run, -1)

    def measured(self, run: Planned, elapsed_s: float) -> None:
        """`run` was done after so many seconds."""
        self._elapsed_s += elapsed_s
        self._ended += 1
        if run.predicted_s is not None:
            self._predicted_s += run.predicted_s
            self._measured_s += elapsed_s

    def seconds(self, running: Iterable[tuple[Planned, float]]) -> tuple[float, float] | None:
        """The least and the most, with the runs in progress and their seconds so far.

        None while it cannot be estimated.
        """
        in_progress = list(running)
        ratio = self._ratio(in_progress)
        typical_s = self._elapsed_s / self._ended if self._ended else None
        left_s = self._waiting_s * ratio
        if self._waiting_unknown:
            if typical_s is None:
                return None
            left_s += self._waiting_unknown * typical_s
        for run, elapsed_s in in_progress:
            whole_s = typical_s if run.predicted_s is None else run.predicted_s * ratio
            if whole_s is None:
                return None
            left_s += max(0.0, whole_s - elapsed_s)
        left_s /= self._workers
        # The range of a prediction is that of one run: each that ends shows more of the machine.
        share = 1 / math.sqrt(self._ended + 1)
        return left_s * self._spread[0] ** share, left_s * self._spread[1] ** share

    def _ratio(self, running: list[tuple[Planned, float]]) -> float:
        """Measured by predicted seconds; before a run has ended, at least that of those running."""
        if self._predicted_s > 0:
            return self._measured_s / self._predicted_s
        return max([1.0, *(passed / run.predicted_s for run, passed in running if run.predicted_s)])

    def _wait(self, run: Planned, sign: int) -> None:
        if run.predicted_s is None:
            self._waiting_unknown += sign
        else:
            self._waiting_s += sign * run.predicted_s
