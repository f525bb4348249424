"""Bound by how much two ways of computing a softmax loss in float64 may differ."""

import torch
from torch import Tensor

__all__ = ["softmax_rounding"]


def softmax_rounding(hidden_ND: Tensor, items_VD: Tensor) -> tuple[float, float, float]:
    """What rounding alone sets apart: losses, gradients of the hidden states and of the items.

    A score is a sum of D products: two orders of summing differ by up to D eps times the sum of
    their sizes, which may be far above a score of terms that cancel. A loss is the difference of a
    score and the logarithm of a sum, each off by as much. A share of the softmax is off by that
    times itself, and the shares of a position sum to 1; the gradients are means over positions of
    such shares times items or hidden states.
    """
    hidden_ND, items_VD = hidden_ND.detach().abs(), items_VD.detach().abs()
    eps = torch.finfo(torch.float64).eps
    # Beside the D products, an exponent is rounded when the largest score is taken off.
    score = (hidden_ND.size(1) + 2) * eps * float((hidden_ND @ items_VD.T).max())
    loss = 2 * score
    return (
        loss,
        loss * float(items_VD.norm(dim=1).max()),
        loss * float(hidden_ND.norm(dim=1).max()),
    )
