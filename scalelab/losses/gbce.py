"""Compute sampled BCE calibrated against over-confidence (gBCE, Petrov & Macdonald, 2023)."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar

from pydantic import Field

from scalelab.losses import LossBatch
from scalelab.losses._objectives import binary
from scalelab.losses._options import Reduction, RemoveAccidentalHits, TopK
from scalelab.losses._sampled import Objective, SampledLoss

__all__ = ["GBCE"]


@dataclass(frozen=True, kw_only=True)
class GBCE(SampledLoss):
    """BCE with the probability of the target to the power beta.

    beta = alpha (t (1 - 1 / alpha) + 1 / alpha), where alpha = K / (num_items - 1) is the share of
    the negatives that is drawn: `t` = 0 is plain BCE, `t` = 1 is fully calibrated. `reduction` and
    `remove_accidental_hits` are as in `bce`.
    """

    t: Annotated[
        float,
        Field(ge=0, le=1, description="calibration: 0 is plain bce, 1 is fully calibrated"),
    ] = 0.75
    reduction: Reduction = "mean"
    remove_accidental_hits: RemoveAccidentalHits = True
    top_k: TopK = None

    needs_negatives: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not 0.0 <= self.t <= 1.0:
            raise ValueError(f"t must lie in [0, 1], got {self.t}")
        if self.reduction not in ("mean", "sum", "balanced"):
            raise ValueError(f"reduction must be mean, sum or balanced, got {self.reduction!r}")

    def objective(self, batch: LossBatch) -> Objective:
        """How the scores of a position make its loss."""
        return partial(binary, reduction=self.reduction, beta=self._beta(batch))

    def _beta(self, batch: LossBatch) -> float:
        num_negatives = sum(source.ids.shape[-1] for source in batch.negatives)
        # More draws than there are items (with replacement) are no more than all of them.
        alpha = min(1.0, num_negatives / max(1, batch.num_items - 1))
        return self.t * (alpha - 1) + 1
