"""Score what a pre-trained encoder predicts: attributes, masked items and segments (S3-Rec)."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["attribute_loss", "pairwise_loss"]


def attribute_loss(hidden_ND: Tensor, attribute_table_AD: Tensor, own_NM: Tensor) -> Tensor:
    """Binary cross-entropy of all attributes of an item, summed over attributes: (N,).

    `own_NM` are the attributes that each item has, from 1; 0 fills up. The items' own scores are
    taken away from the sum over all, so that no matrix of zeros and ones is made.
    """
    scores_NA = hidden_ND @ attribute_table_AD.T
    own_scores_NM = scores_NA.gather(1, (own_NM.long() - 1).clamp_(min=0))
    own_N = _wide(own_scores_NM * (own_NM > 0)).sum(1)
    return F.softplus(_wide(scores_NA)).sum(1) - own_N


def pairwise_loss(hidden_ND: Tensor, right_ND: Tensor, wrong_ND: Tensor) -> Tensor:
    """How far the right one is not above the wrong one, by probabilities: (N,).

    -log sigmoid(p(right) - p(wrong)), p the sigmoid of the inner product, as the original has it.
    """
    right_N = _wide(hidden_ND * right_ND).sum(1).sigmoid()
    wrong_N = _wide(hidden_ND * wrong_ND).sum(1).sigmoid()
    return -F.logsigmoid(right_N - wrong_N)


def _wide(scores: Tensor) -> Tensor:
    """In float32 at least: sums of bf16 would be coarse."""
    return scores.to(torch.promote_types(scores.dtype, torch.float32))
