"""Decide how many scores full cross-entropy holds at a time, and whether it keeps them."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from scalelab.losses import Target, target_of
from scalelab.losses._tiles import accumulate_dtype_of

__all__ = ["Tile", "tile_bytes", "tile_of"]

# A tile of 512 x 2048 float32 scores stays in the caches of a CPU core between its passes.
_ROWS, _COLUMNS = 512, 2048
# Fewer rows than this make thin products, dearer than forming the scores a second time (measured
# between 28 rows, where the two are equal, and 83, where keeping is a quarter faster).
_FEWEST_ROWS = 48


def tile_bytes(tile_mib: float | Literal["auto"], target: Target) -> int:
    """Bytes of scores that are held at a time."""
    if tile_mib != "auto":
        return int(tile_mib * 2**20)
    return 32 * 2**20 if target.kind == "cpu" else target.tile_bytes


class Tile(NamedTuple):
    """How many positions and rows of the item table are scored at a time.

    `keeps`: the scores of `rows` positions with the whole table are kept. `size` is the number of
    scores that the buffer holds.
    """

    keeps: bool
    rows: int
    columns: int
    size: int


class _Problem(NamedTuple):
    """What the size of a tile depends on."""

    num_positions: int
    depth: int
    num_rows: int
    num_bytes: int


def tile_of(
    tile_mib: float | Literal["auto"],
    *,
    hidden_ND: Tensor,
    table_VD: Tensor,
    compute_dtype: torch.dtype,
) -> Tile:
    """The tile that a call takes: scores are kept where enough positions fit."""
    target = target_of(hidden_ND)
    problem = _Problem(
        num_positions=hidden_ND.shape[0],
        depth=hidden_ND.shape[1],
        num_rows=table_VD.shape[0],
        num_bytes=tile_bytes(tile_mib, target),
    )
    if target.kind == "cpu":
        return _tile_on_cpu(problem, compute_dtype)
    return _tile_on_gpu(problem, compute_dtype, accumulate_dtype_of(hidden_ND))


def _tile_on_cpu(problem: _Problem, compute_dtype: torch.dtype) -> Tile:
    num_positions, num_rows = problem.num_positions, problem.num_rows
    most = max(1, problem.num_bytes // compute_dtype.itemsize)
    rows = min(_ROWS, num_positions, max(1, most // num_rows))
    keeps = num_rows <= most and rows >= min(_FEWEST_ROWS, num_positions)
    if not keeps:
        rows = min(_ROWS, num_positions, most)
    columns = max(1, min(num_rows, _COLUMNS, most // rows))
    return Tile(keeps=keeps, rows=rows, columns=columns, size=min(most, rows * num_rows))


def _tile_on_gpu(
    problem: _Problem, compute_dtype: torch.dtype, accumulate_dtype: torch.dtype
) -> Tile:
    """Launches are dear on a GPU, so its tiles are as wide as they can be.

    What is held beside the scores is as wide as they are, so it counts: a copy in float32, once
    more a copy of their own type where they are not kept, and of the table's rows a copy and a
    product.
    """
    num_positions, depth, num_rows, num_bytes = problem
    other = compute_dtype != accumulate_dtype
    a_row = 2 * depth * compute_dtype.itemsize if other else 0
    a_score = compute_dtype.itemsize + (4 if other else 0)
    rows = min(num_positions, (num_bytes // num_rows - a_row) // a_score)
    if rows >= min(_FEWEST_ROWS, num_positions):
        return Tile(keeps=True, rows=rows, columns=num_rows, size=rows * num_rows)
    a_score += compute_dtype.itemsize if other else 0
    rows = max(1, min(num_positions, math.isqrt(num_bytes // a_score)))
    columns = max(1, min(num_rows, num_bytes // (rows * a_score + a_row)))
    return Tile(keeps=False, rows=rows, columns=columns, size=rows * columns)
