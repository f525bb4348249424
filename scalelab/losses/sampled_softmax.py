"""Softmax cross-entropy over the target and K sampled negatives: CE- of RECE, TRON, GRU4Rec."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from scalelab.losses import LossBatch
from scalelab.losses._sampled import Slopes, sampled_loss

__all__ = ["SampledSoftmax"]


@dataclass(frozen=True, kw_only=True)
class SampledSoftmax:
    """-log(exp(target) / (exp(target) + sum over negatives of exp(negative))).

    `top_k`: only the k highest-scored negatives count (TRON). `logq`: strength of the correction
    for how negatives are drawn; from each score is taken `logq * exponent * log(popularity)`, with
    the exponent of its source and, for the target, that of the first source (GRU4Rec: the in-batch
    one). `mask_hits` leaves out negatives that equal the target.
    """

    logq: float = 0.0
    top_k: int | None = None
    mask_hits: bool = True

    needs_negatives: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.logq < 0:
            raise ValueError(f"logq must not be negative, got {self.logq}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")

    @property
    def needs_popularity(self) -> bool:
        """The correction does, and nothing else."""
        return self.logq > 0

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions. Raises SpecError where top_k is above the negatives given."""
        return sampled_loss(
            _softmax,
            hidden_ND,
            item_table_VD,
            batch,
            mask_hits=self.mask_hits,
            logq=self.logq,
            top_k=self.top_k,
        )


def _softmax(target_T: Tensor, negative_TK: Tensor) -> Slopes:
    total_T = torch.logaddexp(target_T, torch.logsumexp(negative_TK, 1))
    return Slopes(
        total_T - target_T,
        torch.exp(target_T - total_T) - 1,
        negative_TK.sub_(total_T[:, None]).exp_(),
    )
