"""Hold the tile shapes of the kernels, by GPU generation, type and width of the rows."""

from typing import NamedTuple

import torch

__all__ = ["Shape", "Tiles", "num_splits", "tiles_for", "width_of"]


class Shape(NamedTuple):
    """Positions and rows of one tile, warps of a program, stages of its pipeline."""

    positions: int
    rows: int
    warps: int
    stages: int


class Tiles(NamedTuple):
    """Shapes of the two kernels, and how many programs of `forward` fill the GPU."""

    forward: Shape
    table: Shape
    programs: int


# Nothing is tuned while a run waits: the same GPU always takes the same shapes, so that two runs
# give the same bits.
_HALF = {
    64: Tiles(Shape(128, 128, 8, 2), Shape(128, 128, 8, 2), 264),
    128: Tiles(Shape(128, 64, 8, 2), Shape(64, 128, 8, 2), 264),
    256: Tiles(Shape(64, 64, 8, 2), Shape(64, 64, 8, 2), 264),
}
_FLOAT = {
    64: Tiles(Shape(64, 64, 8, 2), Shape(64, 64, 8, 2), 264),
    128: Tiles(Shape(64, 32, 8, 2), Shape(32, 64, 8, 2), 264),
    256: Tiles(Shape(32, 32, 8, 1), Shape(32, 32, 8, 1), 264),
}
# GPUs of 100 KiB of shared memory a multiprocessor: half as many numbers in flight.
_HALF_SMALL = {
    64: Tiles(Shape(64, 64, 4, 2), Shape(64, 64, 4, 2), 256),
    128: Tiles(Shape(64, 64, 4, 2), Shape(64, 64, 4, 2), 256),
    256: Tiles(Shape(32, 32, 4, 2), Shape(32, 32, 4, 2), 256),
}
_FLOAT_SMALL = {
    64: Tiles(Shape(64, 32, 4, 2), Shape(32, 64, 4, 2), 256),
    128: Tiles(Shape(32, 32, 4, 1), Shape(32, 32, 4, 1), 256),
    256: Tiles(Shape(16, 32, 4, 1), Shape(16, 32, 4, 1), 256),
}
_LARGE_SHARED_MEMORY = frozenset({(8, 0), (8, 7), (9, 0), (10, 0), (10, 3)})


def width_of(depth: int) -> int:
    """The power of two, at least 16, that rows of `depth` numbers are padded to."""
    return max(16, 1 << (depth - 1).bit_length())


def tiles_for(capability: tuple[int, int], dtype: torch.dtype, depth: int) -> Tiles:
    """Shapes for a GPU of this compute capability (8.0 or newer) and D = `depth` up to 256."""
    large = capability in _LARGE_SHARED_MEMORY
    if dtype.itemsize == 2:
        table = _HALF if large else _HALF_SMALL
    else:
        table = _FLOAT if large else _FLOAT_SMALL
    return table[max(64, width_of(depth))]


def num_splits(tiles: Tiles, num_positions: int, num_rows: int) -> tuple[int, int]:
    """Into how many parts `forward` splits the rows, and rows a part (a multiple of a tile's)."""
    blocks = -(-num_positions // tiles.forward.positions)
    in_tiles = -(-num_rows // tiles.forward.rows)
    wanted = max(1, min(in_tiles, tiles.programs // blocks))
    per_split = -(-in_tiles // wanted) * tiles.forward.rows
    return -(-num_rows // per_split), per_split
