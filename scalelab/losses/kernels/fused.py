"""Compute cross-entropy, over the catalog or over shared negatives, by the kernels, with gradients.

The forward pass keeps the hidden states, their gradient and a log-sum-exp for each position; the
gradient of the item table is computed in the backward pass, already multiplied by the gradient of
the loss, or after it, by tiles (`streamed.py`).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scalelab.losses._tiles import add_rows
from scalelab.losses.kernels import ops
from scalelab.losses.kernels.scan import (
    Problem,
    ids_to_skip,
    operand_of,
    product_precision,
    scan,
)

__all__ = ["Known", "forward_pass", "fused_loss", "target_rows", "write_rows"]


def fused_loss(hidden_ND: Tensor, item_table_VD: Tensor, problem: Problem) -> Tensor:
    """Mean over the N positions, float32. `item_table_VD` must be contiguous.

    As with every loss of this package a second backward pass raises RuntimeError.
    """
    recording = torch.is_grad_enabled()
    wanted = recording and (hidden_ND.requires_grad or item_table_VD.requires_grad)
    return _Fused.apply(hidden_ND, item_table_VD, problem, wanted)  # pyright: ignore


class Known(NamedTuple):
    """What the gradients of rows need of the forward pass.

    `operand` are the hidden states as the kernels multiply them, `rows` those of the softmax.
    `inner_ND`, the hidden states in the type of the products, and the losses `loss_N` are for
    targets that stand beside these rows; None where they are not needed any more.
    """

    precision: str
    operand: Tensor
    rows: Any
    lse_N: Tensor
    inner_ND: Tensor | None
    loss_N: Tensor | None


def forward_pass(
    hidden_ND: Tensor,
    item_table_VD: Any,
    problem: Problem,
    *,
    hidden_wanted: bool,
    position_weight: float,
) -> tuple[Tensor, Known, Tensor | None]:
    """The losses (N,), what is known for the backward pass, and `position_weight` times the
    gradient of the hidden states.
    """
    targets_N, shared = problem.targets_N, problem.shared
    inner_ND = hidden_ND.to(problem.compute_dtype).contiguous()
    rows = item_table_VD if shared is None else item_table_VD.index_select(0, shared.ids_K)
    precision = product_precision(problem.compute_dtype)
    operand = operand_of(inner_ND, precision)
    parts = scan(hidden_ND, operand, rows, problem, precision=precision, with_sums=hidden_wanted)
    lse_N = torch.empty_like(parts.top[0])
    loss_N = torch.empty_like(lse_N)
    grad_ND = torch.empty_like(hidden_ND) if hidden_wanted else None
    whole, places_N = item_table_VD, targets_N
    if not isinstance(whole, Tensor):
        whole = whole.index_select(0, targets_N)
        places_N = torch.arange(len(targets_N), device=targets_N.device)
    ops.combine(
        hidden=inner_ND,
        rows=whole,
        targets=places_N,
        target_bias=None if shared is None else shared.target_bias_N,
        top=parts.top,
        total=parts.total,
        sums=parts.sums,
        lse=lse_N,
        loss=loss_N,
        grad_hidden=grad_ND,
        position_weight=position_weight,
        target_among_rows=shared is None,
    )
    known = Known(precision, operand, rows, lse_N, None, None)
    if shared is not None:
        known = known._replace(inner_ND=inner_ND, loss_N=loss_N)
    return loss_N, known, grad_ND


def write_rows(
    grad_rows: Tensor,
    known: Known,
    problem: Problem,
    scale: Tensor,
    *,
    position_weight: float,
    add: bool = False,
) -> None:
    """Write the gradient of the rows of the softmax, times `scale` and `position_weight`.

    With `add` it is added to `grad_rows`.
    """
    shared = problem.shared
    ops.table(
        hidden=known.operand,
        rows=known.rows,
        bias=None if shared is None else shared.bias_K,
        ids=ids_to_skip(problem),
        targets=problem.targets_N,
        lse=known.lse_N,
        scale=scale,
        grad_rows=grad_rows,
        position_weight=position_weight,
        pad_id=problem.pad_id if shared is None else -1,
        target_among_rows=shared is None,
        add=add,
        precision=known.precision,
    )


def target_rows(known: Known, weight: Tensor) -> Tensor:
    """The gradients of targets that stand beside the rows of the softmax, (N, D): their softmax
    less one, times the hidden state and `weight`.
    """
    assert known.inner_ND is not None
    assert known.loss_N is not None
    return known.inner_ND * torch.expm1(-known.loss_N).mul_(weight).unsqueeze(1)


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden_ND: Tensor, item_table_VD: Tensor, problem: Problem, wanted: bool
    ) -> Tensor:
        loss_N, known, grad_ND = forward_pass(
            hidden_ND,
            item_table_VD,
            problem,
            hidden_wanted=wanted,
            position_weight=1 / len(hidden_ND),
        )
        if wanted:
            precision, *tensors = known
            ctx.save_for_backward(item_table_VD, *tensors)
            ctx.grad_ND, ctx.problem, ctx.precision = grad_ND, problem, precision
        return loss_N.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.grad_ND is None:
            raise RuntimeError(
                "this loss hands its gradients out once: call the loss again for a second backward"
            )
        grad_ND, ctx.grad_ND = ctx.grad_ND, None
        table_VD, *tensors = ctx.saved_tensors
        known = Known(ctx.precision, *tensors)
        # Not a saved tensor: torch would keep it as long as the loss.
        problem, ctx.problem = ctx.problem, None
        position_weight, grad_VD = 1 / len(problem.targets_N), None
        if ctx.needs_input_grad[1]:
            grad_rows = torch.empty_like(known.rows)
            write_rows(grad_rows, known, problem, scale, position_weight=position_weight)
            grad_VD = grad_rows
            if problem.shared is not None:
                grad_VD = torch.zeros_like(table_VD)
                add_rows(grad_VD, problem.shared.ids_K, grad_rows)
                del grad_rows
                target_ND = target_rows(known, scale * position_weight)
                add_rows(grad_VD, problem.targets_N, target_ND)
        grad_ND = grad_ND.mul_(scale) if ctx.needs_input_grad[0] else None
        return grad_ND, grad_VD, None, None
