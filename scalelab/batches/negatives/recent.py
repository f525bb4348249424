"""Draw items in proportion to how often they were taken of late."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numba import njit
from pydantic import Field

from scalelab.batches.negatives import Catalog, Draw
from scalelab.batches.negatives._alias import draw_by_weights
from scalelab.core.errors import SpecError

__all__ = ["Recent"]

# What an item that was taken weighs at least: halved too often, a weight would be 0 and its
# logarithm no number.
_LEAST = 1e-300


@dataclass(frozen=True, kw_only=True)
class Recent:
    """Every training interaction counts, half as much for each `half_life_days` that it lies before
    the last one: an item's probability is proportional to the sum over its interactions of
    2 ** -(age / half-life). With replacement; what nobody took in training is never drawn.

    `log_shares` are the logarithms of these probabilities, with which logQ corrects. Needs clock
    times. Raises SpecError for a half-life that is not above 0.
    """

    half_life_days: Annotated[
        float, Field(gt=0, description="days in which the weight of an interaction halves")
    ] = 7.0

    # Not popularity to a power: `log_shares` says what it is.
    exponent: ClassVar[None] = None
    needs_clock: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.half_life_days > 0:
            raise SpecError(
                f"recent.half_life_days = {self.half_life_days}: a half-life is above 0",
                "set negatives.half_life_days to a number of days such as 7",
            )

    def bind(self, catalog: Catalog, *, reject: bool) -> Draw:
        """See `Source.bind`."""
        return draw_by_weights(self._weights(catalog), catalog, reject=reject)

    def log_shares(self, catalog: Catalog) -> np.ndarray:
        """Log of each item's probability, float32 (V,): -inf where it is 0; 0 for padding."""
        weights_V = self._weights(catalog)
        with np.errstate(divide="ignore"):
            found = np.log(weights_V) - np.log(weights_V.sum())
        found[0] = 0.0
        return found.astype(np.float32)

    def _weights(self, catalog: Catalog) -> np.ndarray:
        clock = catalog.clock
        assert clock is not None, "see `check_clock`"
        weights_V = np.zeros(catalog.num_items + 1, np.float64)
        histories = (catalog.items, catalog.starts, catalog.ends)
        half_life = self.half_life_days * clock.ticks_a_day
        _add_weights(*histories, clock.times, half_life, weights_V)
        return weights_V


@njit(nogil=True, cache=True)
def _add_weights(items, starts, ends, times, half_life, weights_V):
    last = np.iinfo(np.int64).min
    for user in range(len(starts)):
        for at in range(starts[user], ends[user]):
            last = max(last, times[at])
    for user in range(len(starts)):
        for at in range(starts[user], ends[user]):
            weight = 2.0 ** ((times[at] - last) / half_life)
            weights_V[items[at]] += max(weight, _LEAST)
