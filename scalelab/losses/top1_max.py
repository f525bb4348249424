"""Compute TOP1 against negatives weighted by their softmax (TOP1-max; Hidasi et al., 2018)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from scalelab.losses import LossBatch
from scalelab.losses._objectives import softmax
from scalelab.losses._options import Regularisation, RemoveAccidentalHits, TopK
from scalelab.losses._sampled import Objective, SampledLoss, ScoreGradients

__all__ = ["TOP1Max"]


@dataclass(frozen=True, kw_only=True)
class TOP1Max(SampledLoss):
    """sum_j s_j (sigmoid(negative_j - target) + reg sigmoid(negative_j^2)).

    s is the softmax of the negatives. Eq. 12 of the cumulative cross-entropy paper, which leaves
    the second term out; GRU4Rec+ has it (`reg` = 1). `remove_accidental_hits` leaves out negatives
    that equal the target.
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
        softmax_TK = softmax(negative_TK)
        score_TK = negative_TK.masked_fill_(negative_TK == -torch.inf, 0)
        ahead_TK = torch.sigmoid(score_TK - target_T.unsqueeze(1))
        term_TK = ahead_TK
        steep_TK = pull_TK = ahead_TK * (1 - ahead_TK)
        if self.reg:
            large_TK = torch.sigmoid(score_TK * score_TK)
            term_TK = ahead_TK + self.reg * large_TK
            steep_TK = pull_TK + 2 * self.reg * score_TK * large_TK * (1 - large_TK)
        loss_T = (softmax_TK * term_TK).sum(1)
        score_grad_TK = softmax_TK * (term_TK - loss_T.unsqueeze(1) + steep_TK)
        return ScoreGradients(loss_T, -(softmax_TK * pull_TK).sum(1), score_grad_TK)
