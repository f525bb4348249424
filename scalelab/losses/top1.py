"""Compute TOP1, the mean over sampled negatives (Hidasi et al., 2016: GRU4Rec)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from scalelab.losses import LossBatch
from scalelab.losses._objectives import num_negatives
from scalelab.losses._options import Regularisation, RemoveAccidentalHits, TopK
from scalelab.losses._sampled import Objective, SampledLoss, ScoreGradients

__all__ = ["TOP1"]


@dataclass(frozen=True, kw_only=True)
class TOP1(SampledLoss):
    """sigmoid(negative - target) + reg sigmoid(negative^2), mean over K.

    Eq. 8 of the cumulative cross-entropy paper, which leaves the second term out; GRU4Rec has it
    (`reg` = 1). `remove_accidental_hits` leaves out negatives that equal the target.
    """

    reg: Regularisation = 1.0
    remove_accidental_hits: RemoveAccidentalHits = True
    top_k: TopK = None

    needs_negatives: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.reg < 0:
            raise ValueError(f"reg must not be negative, got {self.reg}")

    def objective(self, batch: LossBatch) -> Objective:
        """How the scores of a position make its loss."""
        return self._objective

    def _objective(self, target_T: Tensor, negative_TK: Tensor) -> ScoreGradients:
        is_empty_TK = negative_TK == -torch.inf
        weight_T1 = (1 / num_negatives(negative_TK).clamp_(min=1)).unsqueeze(1)
        weight_TK = weight_T1.masked_fill(is_empty_TK, 0)
        score_TK = negative_TK.masked_fill_(is_empty_TK, 0)
        ahead_TK = torch.sigmoid(score_TK - target_T.unsqueeze(1))
        pull_TK = weight_TK * ahead_TK * (1 - ahead_TK)
        loss_T = (weight_TK * ahead_TK).sum(1)
        score_grad_TK = pull_TK
        if self.reg:
            large_TK = torch.sigmoid(score_TK * score_TK)
            loss_T += self.reg * (weight_TK * large_TK).sum(1)
            score_grad_TK = pull_TK + 2 * self.reg * weight_TK * score_TK * large_TK * (
                1 - large_TK
            )
        return ScoreGradients(loss_T, -pull_TK.sum(1), score_grad_TK)
