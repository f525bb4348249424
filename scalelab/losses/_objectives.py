"""Compute losses and their gradients from the scores of a target and its negatives.

A negative score of -inf is not a negative; its gradient is 0. A position without any negative has
the loss that its target alone gives, 0 for pairs.
"""

import torch
from torch import Tensor
from torch.nn import functional

from scalelab.losses._sampled import ScoreGradients

__all__ = ["binary", "elu", "num_negatives", "softmax", "through_elu"]


def binary(
    target_T: Tensor, negative_TK: Tensor, reduction: str, beta: float = 1.0
) -> ScoreGradients:
    """-beta log sigmoid(target) - log(1 - sigmoid(negative)), combined as `reduction` says."""
    count_T = num_negatives(negative_TK)
    if reduction == "mean":
        weights_T = (1 / (1 + count_T), 1 / (1 + count_T))
    elif reduction == "sum":
        weights_T = (torch.ones_like(count_T), torch.ones_like(count_T))
    else:
        weights_T = (torch.ones_like(count_T), 1 / count_T.clamp(min=1))
    target_weight_T, negative_weight_T = weights_T[0] * beta, weights_T[1]
    loss_T = target_weight_T * functional.softplus(-target_T)
    loss_T += negative_weight_T * functional.softplus(negative_TK).sum(1)
    return ScoreGradients(
        loss_T,
        -target_weight_T * torch.sigmoid(-target_T),
        negative_TK.sigmoid_().mul_(negative_weight_T.unsqueeze(1)),
    )


def num_negatives(negative_TK: Tensor) -> Tensor:
    """How many negatives each position has, as a float: places with -inf are empty."""
    return (negative_TK > -torch.inf).sum(1).to(negative_TK.dtype)


def softmax(negative_TK: Tensor) -> Tensor:
    """Softmax over the negatives; all 0 where there are none."""
    top_T1 = negative_TK.amax(1, keepdim=True).clamp_(min=torch.finfo(negative_TK.dtype).min)
    softmax_TK = (negative_TK - top_T1).exp_()
    return softmax_TK.div_(softmax_TK.sum(1, keepdim=True).clamp_(min=1))


def elu(scores: Tensor, alpha: float) -> Tensor:
    """alpha (exp(x) - 1) below 0; -inf stays what it is. `alpha` = 0 changes nothing."""
    if not alpha:
        return scores
    return torch.where(scores > -torch.inf, functional.elu(scores, alpha), scores)


def through_elu(
    score_gradients: ScoreGradients, target_T: Tensor, negative_TK: Tensor, alpha: float
) -> ScoreGradients:
    """ScoreGradients by the scores before `elu`, which are given, from those after it."""
    if not alpha:
        return score_gradients
    return ScoreGradients(
        score_gradients.loss,
        score_gradients.target * torch.where(target_T > 0, 1, alpha * target_T.exp()),
        score_gradients.negatives.mul_(torch.where(negative_TK > 0, 1, alpha * negative_TK.exp())),
    )
