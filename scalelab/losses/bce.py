"""Compute binary cross-entropy of the target against K sampled negatives (SASRec; BCE+)."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from scalelab.losses import LossBatch
from scalelab.losses._objectives import binary
from scalelab.losses._options import Reduction, RemoveAccidentalHits, TopK
from scalelab.losses._sampled import Objective, SampledLoss

__all__ = ["BCE"]


@dataclass(frozen=True, kw_only=True)
class BCE(SampledLoss):
    """-log sigmoid(target) - log(1 - sigmoid(negative)) over K negatives.

    `reduction` puts the 1 + K terms of a position together: "mean" over all of them (the code of
    RECE and gSASRec), "sum" (Eq. 1 of the RECE paper), "balanced" (the target's term plus the mean
    of the negatives': TRON). `remove_accidental_hits` leaves out negatives that equal the target;
    the papers' code keeps them, but most of its samplers never draw one.
    """

    reduction: Reduction = "mean"
    remove_accidental_hits: RemoveAccidentalHits = True
    top_k: TopK = None

    needs_negatives: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.reduction not in ("mean", "sum", "balanced"):
            raise ValueError(f"reduction must be mean, sum or balanced, got {self.reduction!r}")

    def objective(self, batch: LossBatch) -> Objective:
        """How the scores of a position make its loss."""
        return partial(binary, reduction=self.reduction)
