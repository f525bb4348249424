"""Draw items in proportion to how often training histories hold them, to some power."""

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from scalelab.batches.negatives import Catalog, Draw
from scalelab.batches.negatives._alias import draw_by_weights
from scalelab.core.errors import SpecError

__all__ = ["Popularity"]


@dataclass(frozen=True, kw_only=True)
class Popularity:
    """Probability proportional to count ** exponent, with replacement; 0.75 is word2vec's choice.

    An item that no training history holds is never drawn, unless `exponent` is 0, which is
    `uniform`. Probabilities differ from that by at most 2^-32. Raises SpecError for an exponent
    that is negative or not finite.
    """

    exponent: Annotated[
        float, Field(ge=0, description="power of the counts; 0 draws uniformly, 0.75 is word2vec's")
    ] = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.exponent) and self.exponent >= 0):
            raise SpecError(
                f"popularity.exponent = {self.exponent}: popularity needs a number of at least 0",
                "set negatives.exponent to 0 (uniform) or more; 1 is popularity itself",
            )

    def bind(self, catalog: Catalog, *, reject: bool) -> Draw:
        """See `Source.bind`."""
        weights_V = np.power(catalog.counts_V.astype(np.float64), self.exponent)
        weights_V[0] = 0.0
        return draw_by_weights(weights_V, catalog, reject=reject)
