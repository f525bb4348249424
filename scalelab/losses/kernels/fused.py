"""Compute cross-entropy, over the catalog or over shared negatives, by the kernels, with gradients.

The forward pass keeps the hidden states, their gradient and a log-sum-exp for each position; the
gradient of the item table is computed in the backward pass, already multiplied by the gradient of
the loss, or after it, by tiles (`streamed.py`).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scalelab.losses import target_of, tf32_allowed
from scalelab.losses._tiles import add_rows
from scalelab.losses.kernels import ops
from scalelab.losses.kernels.tiles import num_splits, tiles_for

__all__ = [
    "Known",
    "Problem",
    "Shared",
    "forward_pass",
    "fused_bytes",
    "fused_loss",
    "product_precision",
    "target_rows",
    "write_rows",
]


class Shared(NamedTuple):
    """Negatives of the whole batch: items, (K,) int32, and what is added to their scores.

    `bias_K` is -inf on empty places. `target_bias_N` is added to the scores of the targets. With
    `skip_target` a negative that is the position's target has no part in its softmax.
    """

    ids_K: Tensor
    bias_K: Tensor
    target_bias_N: Tensor | None
    skip_target: bool


class Problem(NamedTuple):
    """Targets, the type of the matrix products, and the negatives (None: all items).

    `pad_id` is a row that has no part in the softmax over all items, -1 if there is none.
    """

    targets_N: Tensor
    compute_dtype: torch.dtype
    pad_id: int
    shared: Shared | None = None


def fused_loss(hidden_ND: Tensor, item_table_VD: Tensor, problem: Problem) -> Tensor:
    """Mean over the N positions, float32. `item_table_VD` must be contiguous.

    As with every loss of this package a second backward pass raises RuntimeError.
    """
    recording = torch.is_grad_enabled()
    wanted = recording and (hidden_ND.requires_grad or item_table_VD.requires_grad)
    return _Fused.apply(hidden_ND, item_table_VD, problem, wanted)  # pyright: ignore


def fused_bytes(num_positions: int, num_rows: int, like: Tensor, compute_dtype: torch.dtype) -> int:
    """About what the forward pass allocates: of each split its sums, and operand and gradient of
    the hidden states. More positions may have fewer splits. `like` has their width and device.
    """
    precision, depth = product_precision(compute_dtype), like.shape[1]
    tiles = tiles_for(target_of(like).capability, precision, depth)
    splits, _ = num_splits(tiles, num_positions, num_rows)
    parts = 6 if precision == "bf16x6" else 0
    beside = depth * (compute_dtype.itemsize + parts + like.element_size())
    return num_positions * (4 * splits * (depth + 2) + beside)


def product_precision(compute_dtype: torch.dtype) -> str:
    """How the kernels multiply: float32 as six bfloat16 products, or as TF32 where torch may."""
    if compute_dtype is not torch.float32:
        return "ieee"
    return "tf32" if tf32_allowed() else "bf16x6"


def _operand(inner_ND: Tensor, precision: str) -> Tensor:
    if precision != "bf16x6":
        return inner_ND
    parts = torch.empty(3, *inner_ND.shape, dtype=torch.bfloat16, device=inner_ND.device)
    ops.split(inner_ND, parts)
    return parts


class Known(NamedTuple):
    """What the gradients of rows need of the forward pass.

    `operand` are the hidden states as the kernels multiply them, `rows` those of the softmax.
    `inner_ND`, the hidden states in the type of the products, and the losses `loss_N` are for
    targets that stand beside these rows; None where they are not needed any more.
    """

    precision: str
    operand: Tensor
    rows: Tensor
    lse_N: Tensor
    inner_ND: Tensor | None
    loss_N: Tensor | None


def forward_pass(
    hidden_ND: Tensor,
    item_table_VD: Tensor,
    problem: Problem,
    *,
    hidden_wanted: bool,
    position_weight: float,
) -> tuple[Tensor, Known, Tensor | None]:
    """The losses (N,), what is known for the backward pass, and `position_weight` times the
    gradient of the hidden states.
    """
    targets_N, compute_dtype, pad_id, shared = problem
    inner_ND = hidden_ND.to(compute_dtype).contiguous()
    rows, ids, bias, target_bias = item_table_VD, None, None, None
    if shared is not None:
        rows = item_table_VD.index_select(0, shared.ids_K)
        ids = shared.ids_K if shared.skip_target else None
        bias, target_bias, pad_id = shared.bias_K, shared.target_bias_N, -1
    num_positions, depth = inner_ND.shape
    precision = product_precision(compute_dtype)
    tiles = tiles_for(target_of(hidden_ND).capability, precision, depth)
    splits, per_split = num_splits(tiles, num_positions, rows.shape[0])
    new = {"dtype": torch.float32, "device": hidden_ND.device}
    top = torch.empty(splits, num_positions, **new)
    total = torch.empty_like(top)
    sums = torch.empty(splits, num_positions, depth, **new) if hidden_wanted else None
    operand = _operand(inner_ND, precision)
    ops.forward(
        hidden=operand,
        rows=rows,
        bias=bias,
        ids=ids,
        targets=targets_N,
        top=top,
        total=total,
        sums=sums,
        pad_id=pad_id,
        per_split=per_split,
        precision=precision,
    )
    lse_N, loss_N = torch.empty(num_positions, **new), torch.empty(num_positions, **new)
    grad_ND = torch.empty_like(hidden_ND) if hidden_wanted else None
    ops.combine(
        hidden=inner_ND,
        rows=item_table_VD,
        targets=targets_N,
        target_bias=target_bias,
        top=top,
        total=total,
        sums=sums,
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
        ids=shared.ids_K if shared is not None and shared.skip_target else None,
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
        known, problem = Known(ctx.precision, *tensors), ctx.problem
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
