"""Scan the rows of a softmax by the kernel `forward`, whether they are at hand or made by tiles."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from scalelab.losses import target_of, tf32_allowed
from scalelab.losses._tiles import tile_numbers, tile_ranges
from scalelab.losses.kernels import ops
from scalelab.losses.kernels.tiles import num_splits, tiles_for

__all__ = [
    "Parts",
    "Problem",
    "Shared",
    "fused_bytes",
    "ids_to_skip",
    "operand_of",
    "product_precision",
    "scan",
]

# Bytes that a number of a row takes while it is made, beside the codes; numbers of a CPU's tile.
_NUMBER_BYTES, _TILE_NUMBERS = 8, 2**18
# The highest score of no rows: kernels take it for a score, so that it is finite.
_LOWEST = -1e30


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


class Parts(NamedTuple):
    """Of each part of the rows and each position the highest score, (S, N), the sum of exponentials
    relative to it, (S, N), and the rows weighted by them, (S, N, D), None where nobody wants them.
    """

    top: Tensor
    total: Tensor
    sums: Tensor | None

    @classmethod
    def empty(cls, count: int, hidden_ND: Tensor, *, with_sums: bool) -> "Parts":
        """Memory for `count` parts."""
        shape = count, *hidden_ND.shape
        new = {"dtype": torch.float32, "device": hidden_ND.device}
        top = torch.empty(shape[:2], **new)
        return cls(top, torch.empty_like(top), torch.empty(shape, **new) if with_sums else None)

    def among(self, first: int, last: int) -> "Parts":
        """The parts `first:last`."""
        sums = None if self.sums is None else self.sums[first:last]
        return Parts(self.top[first:last], self.total[first:last], sums)

    def merge(self) -> None:
        """Make the first part that of all rows."""
        top_N = self.top.amax(0)
        share = (self.top - top_N).exp_()
        self.total[0] = self.total.mul_(share).sum(0)
        if self.sums is not None:
            self.sums[0] = self.sums.mul_(share.unsqueeze(2)).sum(0)
        self.top[0] = top_N


def fused_bytes(
    num_positions: int, num_rows: int | None, table_VD: Any, compute_dtype: torch.dtype
) -> int:
    """About what the forward pass allocates: of each part its sums, and operand and gradient of the
    hidden states. More positions may have fewer parts. `num_rows` None: all items.
    """
    precision, depth = product_precision(compute_dtype), table_VD.shape[1]
    made = num_rows is None and not isinstance(table_VD, Tensor)
    width = _width(table_VD) if num_rows is None else num_rows
    splits, _ = _splits(table_VD, num_positions, width, precision)
    parts = 6 if precision == "bf16x6" else 0
    beside = depth * (compute_dtype.itemsize + parts + table_VD.dtype.itemsize)
    return num_positions * (4 * (splits + made) * (depth + 2) + beside)


def product_precision(compute_dtype: torch.dtype) -> str:
    """How the kernels multiply: float32 as six bfloat16 products, or as TF32 where torch may."""
    if compute_dtype is not torch.float32:
        return "ieee"
    return "tf32" if tf32_allowed() else "bf16x6"


def operand_of(inner_ND: Tensor, precision: str) -> Tensor:
    """The hidden states as the kernels multiply them."""
    if precision != "bf16x6":
        return inner_ND
    parts = torch.empty(3, *inner_ND.shape, dtype=torch.bfloat16, device=inner_ND.device)
    ops.split(inner_ND, parts)
    return parts


def scan(
    hidden_ND: Tensor,
    operand: Tensor,
    rows: Any,
    problem: Problem,
    *,
    precision: str,
    with_sums: bool,
) -> Parts:
    """The parts of the rows, in their order; one of rows that are made when they are needed."""
    width = _width(rows)
    splits, per_split = _splits(hidden_ND, len(hidden_ND), width, precision)
    if isinstance(rows, Tensor):
        parts = Parts.empty(splits, hidden_ND, with_sums=with_sums)
        _scan(parts, operand, rows, problem, per_split=per_split, precision=precision)
        return parts
    parts = Parts.empty(splits + 1, hidden_ND, with_sums=with_sums)
    found = parts.among(0, 1)
    found.top.fill_(_LOWEST)
    found.total.zero_()
    if found.sums is not None:
        found.sums.zero_()
    for first, last in tile_ranges(rows.shape[0], width, hidden_ND):
        of_tile = problem._replace(pad_id=max(-1, problem.pad_id - first))
        count = 1 + -(-(last - first) // per_split)
        here = parts.among(1, count)
        _scan(here, operand, rows[first:last], of_tile, per_split=per_split, precision=precision)
        parts.among(0, count).merge()
    return found


def _scan(
    parts: Parts,
    operand: Tensor,
    rows: Tensor,
    problem: Problem,
    *,
    per_split: int,
    precision: str,
) -> None:
    shared = problem.shared
    ops.forward(
        hidden=operand,
        rows=rows,
        bias=None if shared is None else shared.bias_K,
        ids=ids_to_skip(problem),
        targets=problem.targets_N,
        top=parts.top,
        total=parts.total,
        sums=parts.sums,
        pad_id=problem.pad_id if shared is None else -1,
        per_split=per_split,
        precision=precision,
    )


def _width(rows: Any) -> int:
    """How many rows the kernel has at a time."""
    num_rows, depth = rows.shape
    if isinstance(rows, Tensor):
        return num_rows
    return max(1, min(num_rows, tile_numbers(rows, _TILE_NUMBERS, _NUMBER_BYTES) // depth))


def _splits(like: Any, num_positions: int, num_rows: int, precision: str) -> tuple[int, int]:
    tiles = tiles_for(target_of(like).capability, precision, like.shape[1])
    return num_splits(tiles, num_positions, num_rows)


def ids_to_skip(problem: Problem) -> Tensor | None:
    """Items of the negatives, where one that is the position's target has no part."""
    shared = problem.shared
    return shared.ids_K if shared is not None and shared.skip_target else None
