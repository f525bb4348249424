"""Compute BPR against negatives weighted by their softmax (BPR-max; Hidasi et al., 2018; TRON)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from scalelab.losses import LossBatch
from scalelab.losses._objectives import elu, softmax, through_elu
from scalelab.losses._options import Regularisation, RemoveAccidentalHits, TopK
from scalelab.losses._sampled import Objective, SampledLoss, ScoreGradients

__all__ = ["BPRMax"]


@dataclass(frozen=True, kw_only=True)
class BPRMax(SampledLoss):
    """-log sum_j s_j sigmoid(target - negative_j) + reg sum_j s_j negative_j^2.

    s is the softmax of the negatives. Eq. 11 of the cumulative cross-entropy paper, with the
    regularisation of GRU4Rec (`reg`, there bpreg) and its ELU on all scores (`elu`, there
    elu_param; 0: none). `remove_accidental_hits` leaves out negatives that equal the target.
    """

    reg: Regularisation = 1.0
    elu: Annotated[
        float,
        Field(ge=0, description="ELU on all scores (GRU4Rec's elu_param); 0: none"),
    ] = 0.0
    remove_accidental_hits: RemoveAccidentalHits = True
    top_k: TopK = None

    needs_negatives: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name in ("reg", "elu"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")

    def objective(self, batch: LossBatch) -> Objective:
        """How the scores of a position make its loss."""
        return self._objective

    def _objective(self, target_T: Tensor, negative_TK: Tensor) -> ScoreGradients:
        score_gradients = self._score_gradients(elu(target_T, self.elu), elu(negative_TK, self.elu))
        return through_elu(score_gradients, target_T, negative_TK, self.elu)

    def _score_gradients(self, target_T: Tensor, negative_TK: Tensor) -> ScoreGradients:
        softmax_TK = softmax(negative_TK)
        lead_TK = negative_TK - target_T.unsqueeze(1)
        log_TK = softmax_TK.log() - functional.softplus(lead_TK)
        total_T = torch.logsumexp(log_TK, 1)
        none_T = total_T == -torch.inf
        total_T = total_T.masked_fill(none_T, 0)
        # How much each negative has to do with the sum: d log-sum / d log-term.
        part_TK = log_TK.sub_(total_T.unsqueeze(1)).exp_()
        pull_TK = part_TK * torch.sigmoid(lead_TK)
        score_grad_TK = softmax_TK - part_TK + pull_TK
        loss_T = -total_T
        if self.reg:
            score_TK = negative_TK.masked_fill(negative_TK == -torch.inf, 0)
            size_T = (softmax_TK * score_TK * score_TK).sum(1)
            loss_T += self.reg * size_T
            score_grad_TK += (
                self.reg * softmax_TK * (score_TK * score_TK - size_T.unsqueeze(1) + 2 * score_TK)
            )
        return ScoreGradients(loss_T, -pull_TK.sum(1), score_grad_TK)
