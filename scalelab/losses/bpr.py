"""Compute Bayesian personalised ranking over sampled negatives (Rendle et al., 2009; GRU4Rec)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from scalelab.losses import LossBatch
from scalelab.losses._objectives import num_negatives
from scalelab.losses._options import RemoveAccidentalHits, TopK
from scalelab.losses._sampled import Objective, SampledLoss, ScoreGradients

__all__ = ["BPR"]


@dataclass(frozen=True, kw_only=True)
class BPR(SampledLoss):
    """-log sigmoid(target - negative), mean over K (Eq. 7 of the cumulative cross-entropy paper).

    `remove_accidental_hits` leaves out negatives that equal the target.
    """

    remove_accidental_hits: RemoveAccidentalHits = True
    top_k: TopK = None

    needs_negatives: ClassVar[bool] = True

    def objective(self, batch: LossBatch) -> Objective:
        """How the scores of a position make its loss."""
        return _bpr


def _bpr(target_T: Tensor, negative_TK: Tensor) -> ScoreGradients:
    weight_T1 = (1 / num_negatives(negative_TK).clamp_(min=1)).unsqueeze(1)
    lead_TK = negative_TK.sub_(target_T.unsqueeze(1))
    loss_T = (functional.softplus(lead_TK) * weight_T1).sum(1)
    score_grad_TK = torch.sigmoid(lead_TK).mul_(weight_T1)
    return ScoreGradients(loss_T, -score_grad_TK.sum(1), score_grad_TK)
