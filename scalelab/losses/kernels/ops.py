"""Define the torch operations `torch.ops.scalelab.*` that launch the kernels.

They write into buffers that the caller allocates and allocate nothing, so that an account of memory
sees every byte. Triton is imported at the first real call: on fake tensors it is not needed.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

from scalelab.losses import target_of
from scalelab.losses.kernels.launch import launch
from scalelab.losses.kernels.tiles import tiles_for, width_of

__all__ = ["combine", "forward", "split", "table"]

# Triton 3.10 no longer multiplies and adds in one instruction unless it is configured to.
_FUSION = {"enable_fp_fusion": True}
# Positions of one program of `combine`, numbers of one of `split`.
_COMBINED, _SPLIT = 16, 1024

_LIBRARY = torch.library.Library("scalelab", "DEF")
_LIBRARY.define("softmax_split(Tensor numbers, Tensor(a!) parts) -> ()")
_LIBRARY.define(
    "softmax_forward(Tensor hidden, Tensor rows, Tensor? bias, Tensor? ids, Tensor targets, "
    "Tensor(a!) top, Tensor(b!) total, Tensor(c!)? sums, int pad_id, int per_split, "
    "str precision) -> ()"
)
_LIBRARY.define(
    "softmax_combine(Tensor hidden, Tensor rows, Tensor targets, Tensor? target_bias, Tensor top, "
    "Tensor total, Tensor? sums, Tensor(a!) lse, Tensor(b!) loss, Tensor(c!)? grad_hidden, "
    "float position_weight, bool target_among_rows) -> ()"
)
_LIBRARY.define(
    "softmax_table(Tensor hidden, Tensor rows, Tensor? bias, Tensor? ids, Tensor targets, "
    "Tensor lse, Tensor scale, Tensor(a!) grad_rows, float position_weight, int pad_id, "
    "bool target_among_rows, bool add, str precision) -> ()"
)


def _split(numbers: Tensor, parts: Tensor) -> None:
    from scalelab.losses.kernels import products

    count = numbers.numel()
    grid = (-(-count // _SPLIT),)
    launch(products.split, grid, numbers, parts, count, BLOCK=_SPLIT, num_warps=4, **_FUSION)


def _forward(
    hidden: Tensor,
    rows: Tensor,
    bias: Tensor | None,
    ids: Tensor | None,
    targets: Tensor,
    top: Tensor,
    total: Tensor,
    sums: Tensor | None,
    pad_id: int,
    per_split: int,
    precision: str,
) -> None:
    from scalelab.losses.kernels import softmax

    (num_positions, depth), num_rows = hidden.shape[-2:], rows.shape[0]
    shape = tiles_for(target_of(hidden).capability, precision, depth).forward
    launch(
        softmax.forward,
        (-(-num_positions // shape.positions), top.shape[0]),
        hidden,
        rows,
        bias,
        ids,
        targets,
        top,
        total,
        sums,
        pad_id,
        num_positions,
        num_rows,
        per_split,
        D=depth,
        WIDTH=width_of(depth),
        BN=shape.positions,
        BV=shape.rows,
        PRECISION=precision,
        HAS_BIAS=bias is not None,
        SKIP_TARGET=ids is not None,
        GRADIENT=sums is not None,
        num_warps=shape.warps,
        num_stages=shape.stages,
        **_FUSION,
    )


def _combine(
    hidden: Tensor,
    rows: Tensor,
    targets: Tensor,
    target_bias: Tensor | None,
    top: Tensor,
    total: Tensor,
    sums: Tensor | None,
    lse: Tensor,
    loss: Tensor,
    grad_hidden: Tensor | None,
    position_weight: float,
    target_among_rows: bool,
) -> None:
    from scalelab.losses.kernels import softmax

    num_positions, depth = hidden.shape
    launch(
        softmax.combine,
        (-(-num_positions // _COMBINED),),
        hidden,
        rows,
        targets,
        target_bias,
        top,
        total,
        sums,
        lse,
        loss,
        grad_hidden,
        position_weight,
        num_positions,
        top.shape[0],
        D=depth,
        WIDTH=width_of(depth),
        BN=_COMBINED,
        HAS_BIAS=target_bias is not None,
        TARGET_AMONG_ROWS=target_among_rows,
        GRADIENT=grad_hidden is not None,
        num_warps=4,
        **_FUSION,
    )


def _table(
    hidden: Tensor,
    rows: Tensor,
    bias: Tensor | None,
    ids: Tensor | None,
    targets: Tensor,
    lse: Tensor,
    scale: Tensor,
    grad_rows: Tensor,
    position_weight: float,
    pad_id: int,
    target_among_rows: bool,
    add: bool,
    precision: str,
) -> None:
    from scalelab.losses.kernels import softmax

    (num_positions, depth), num_rows = hidden.shape[-2:], rows.shape[0]
    shape = tiles_for(target_of(hidden).capability, precision, depth).table
    launch(
        softmax.table,
        (-(-num_rows // shape.rows),),
        hidden,
        rows,
        bias,
        ids,
        targets,
        lse,
        scale,
        grad_rows,
        position_weight,
        pad_id,
        num_positions,
        num_rows,
        D=depth,
        WIDTH=width_of(depth),
        BN=shape.positions,
        BV=shape.rows,
        PRECISION=precision,
        HAS_BIAS=bias is not None,
        SKIP_TARGET=ids is not None,
        TARGET_AMONG_ROWS=target_among_rows,
        ADD=add,
        num_warps=shape.warps,
        num_stages=shape.stages,
        **_FUSION,
    )


def _no_result(*_: Any) -> None:
    """On fake tensors: all results are arguments."""


for _name, _function in (
    ("softmax_split", _split),
    ("softmax_forward", _forward),
    ("softmax_combine", _combine),
    ("softmax_table", _table),
):
    # On a CPU they run in Triton's interpreter, which tests switch on.
    for _kind in ("CUDA", "CPU"):
        _LIBRARY.impl(_name, _function, _kind)
    torch.library.register_fake(f"scalelab::{_name}", _no_result, lib=_LIBRARY)

split: Any = torch.ops.scalelab.softmax_split.default
forward: Any = torch.ops.scalelab.softmax_forward.default
combine: Any = torch.ops.scalelab.softmax_combine.default
table: Any = torch.ops.scalelab.softmax_table.default


@register_flop_formula(torch.ops.scalelab.softmax_forward)
def _forward_flops(*shapes: Any, **_: Any) -> int:
    hidden, rows, sums = shapes[0], shapes[1], shapes[7]
    return (2 if sums is None else 4) * hidden[-2] * hidden[-1] * rows[0]


@register_flop_formula(torch.ops.scalelab.softmax_table)
def _table_flops(hidden: Any, rows: Any, *_: Any, **__: Any) -> int:
    return 4 * hidden[-2] * hidden[-1] * rows[0]
