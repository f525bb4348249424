"""Make a small problem for a loss, and what its tests compute on it."""

from typing import Any

import torch
from torch import Tensor

from scalelab.losses import Loss, LossBatch, Negatives, own_scores

__all__ = ["NUM_ITEMS", "NUM_POSITIONS", "Afresh", "gradients", "problem", "ranks"]

NUM_POSITIONS = 40
NUM_ITEMS = 60
DEPTH = 8

Problem = tuple[Tensor, Tensor, LossBatch]


def problem(device: str = "cpu", dtype: torch.dtype = torch.float32, seed: int = 0) -> Problem:
    """Hidden states, table and a batch with negatives of all three kinds, on `device`."""
    draw = torch.Generator().manual_seed(seed)

    def ids(*shape: int) -> Tensor:
        return torch.randint(1, NUM_ITEMS + 1, shape, generator=draw, dtype=torch.int32).to(device)

    hidden_ND = torch.randn(NUM_POSITIONS, DEPTH, generator=draw, dtype=dtype)
    items_VD = torch.randn(NUM_ITEMS + 1, DEPTH, generator=draw, dtype=dtype)
    items_VD[0] = 0
    own_NK = ids(NUM_POSITIONS, 6)
    own_NK[::3, 4:] = 0
    batch = LossBatch(
        targets_N=ids(NUM_POSITIONS).long(),
        num_items=NUM_ITEMS,
        sequence_N=(torch.arange(NUM_POSITIONS, dtype=torch.int32) // 8).to(device),
        negatives=(
            Negatives("position", own_NK),
            Negatives("sequence", ids(NUM_POSITIONS // 8, 5), 0.5),
            Negatives("batch", ids(7), 1.0),
        ),
        log_popularity_V=torch.randn(NUM_ITEMS + 1, generator=draw, dtype=dtype).to(device),
        generator=torch.Generator().manual_seed(7),
    )
    return hidden_ND.to(device).requires_grad_(), items_VD.to(device).requires_grad_(), batch


def gradients(
    loss: Loss, hidden_ND: Tensor, items_VD: Tensor, batch: LossBatch
) -> tuple[Tensor, Tensor, Tensor]:
    """The value, and its gradients by hidden states and table."""
    value = loss(hidden_ND, items_VD, batch)
    by_hidden_ND, by_items_VD = torch.autograd.grad(value, (hidden_ND, items_VD))
    return value.detach(), by_hidden_ND, by_items_VD


class Afresh(torch.autograd.Function):
    """The loss, formed anew at every backward pass: gradcheck takes several."""

    @staticmethod
    def forward(ctx: Any, hidden_ND: Tensor, items_VD: Tensor, loss: Loss, device: str) -> Tensor:
        ctx.save_for_backward(hidden_ND, items_VD)
        ctx.rest = (loss, device)
        return loss(hidden_ND, items_VD, problem(device, torch.float64)[2])

    @staticmethod
    def backward(ctx: Any, scale: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        loss, device = ctx.rest
        with torch.enable_grad():
            inputs = [each.detach().requires_grad_() for each in ctx.saved_tensors]
            value = loss(*inputs, problem(device, torch.float64)[2])
        return *torch.autograd.grad(value, inputs, scale), None, None


def ranks(loss: Loss, hidden_ND: Tensor, items_VD: Tensor, batch: LossBatch) -> Tensor:
    """How many items score higher than the target, at each position."""
    with torch.no_grad():
        scores = own_scores(loss) or (lambda hidden, items: hidden @ items.T)
        scores_NV = scores(hidden_ND, items_VD)[:, 1:]
        target_N1 = scores_NV.gather(1, batch.targets_N[:, None] - 1)
        return (scores_NV > target_N1).sum(1).double()
