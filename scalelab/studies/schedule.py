"""Fit the rounds of a successive halving into the hours that there are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.study import HalvingSpec

__all__ = ["FACTOR", "Epoch", "Schedule", "epoch_of", "scheduled"]

FACTOR = 3
# Of the hours this share is planned, with the middle of the predicted range: predictions err.
_SHARE = 0.8
# Every run starts a process, reads the data and measures its memory.
_START_S = 10.0
# With fewer updates a round would choose among models that have hardly left their first weights.
_LEAST_UPDATES = 500


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """Predicted seconds of an epoch with its evaluation, and its number of updates."""

    low: float
    high: float
    updates: int

    @property
    def middle(self) -> float:
        """The geometric mean of the range."""
        return math.sqrt(self.low * self.high)


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Epochs and number of configurations of each round, and the predicted seconds of all."""

    epochs: tuple[int, ...]
    numbers: tuple[int, ...]
    low_s: float
    high_s: float


def epoch_of(document: dict[str, Any]) -> Epoch:
    """The epoch of a document of a plan."""
    seconds, steps = document["seconds"], document["steps_per_epoch"]
    every = document["spec"]["train"]["eval_every"]
    accumulate = document["spec"]["train"]["accumulate"]
    low, high = (
        steps * seconds["step"][end] + seconds["evaluation"][end] / every for end in ("low", "high")
    )
    return Epoch(low=low, high=high, updates=max(1, steps // accumulate))


def scheduled(epochs_of: Sequence[Epoch], hours: float, most_epochs: int) -> Schedule | None:
    """The longest rounds that the hours allow; None where they allow too few updates.

    The last round has at most `most_epochs`. Which configurations go on is not known, so the most
    expensive are counted.
    """
    numbers = [len(epochs_of)]
    halving = HalvingSpec(epochs=(1, 2), factor=FACTOR)
    while halving.num_kept(numbers[-1]) < numbers[-1]:
        numbers.append(halving.num_kept(numbers[-1]))
    # No configuration may be too short; the one with fewest updates an epoch decides.
    least = math.ceil(_LEAST_UPDATES / min(each.updates for each in epochs_of))
    least = min(least, max(1, most_epochs // FACTOR ** (len(numbers) - 1)))
    found = None
    for first in range(least, most_epochs + 1):
        epochs = [min(most_epochs, first * FACTOR**place) for place in range(len(numbers))]
        is_longest = first > least and first * FACTOR ** (len(numbers) - 1) > most_epochs
        if is_longest or len(set(epochs)) < len(epochs):
            break
        middle = _seconds(epochs_of, epochs, numbers, "middle")
        if middle > _SHARE * 3600 * hours:
            break
        found = Schedule(
            epochs=tuple(epochs),
            numbers=tuple(numbers),
            low_s=_seconds(epochs_of, epochs, numbers, "low"),
            high_s=_seconds(epochs_of, epochs, numbers, "high"),
        )
    return found


def _seconds(
    epochs_of: Sequence[Epoch], epochs: Sequence[int], numbers: Sequence[int], which: str
) -> float:
    # The low end takes the cheapest of each round, the others the most expensive.
    costs = sorted((getattr(each, which) for each in epochs_of), reverse=which != "low")
    return sum(
        count * sum(costs[:number]) + _START_S * number
        for count, number in zip(epochs, numbers, strict=True)
    )
