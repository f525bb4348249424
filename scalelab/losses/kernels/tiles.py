"""Hold the tile shapes of the kernels, by GPU generation, products and width of the rows."""

from typing import NamedTuple

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
# give the same bits. Up to a width of 128 chosen on an H200 among 6 to 15 shapes each, by medians
# at N = 1024 and 2630, V = 100,000 and a million; for other generations by what spills least.
_HALF_9 = {
    64: Tiles(Shape(128, 64, 4, 3), Shape(64, 64, 4, 2), 264),
    128: Tiles(Shape(128, 64, 8, 3), Shape(64, 64, 4, 2), 264),
    256: Tiles(Shape(64, 64, 8, 2), Shape(64, 64, 8, 2), 264),
}
_FLOAT_9 = {
    64: Tiles(Shape(128, 32, 8, 1), Shape(64, 64, 4, 1), 264),
    128: Tiles(Shape(128, 64, 8, 1), Shape(32, 64, 4, 2), 264),
    256: Tiles(Shape(64, 32, 8, 1), Shape(32, 64, 8, 1), 264),
}
_HALF_8 = {
    64: Tiles(Shape(128, 64, 4, 2), Shape(64, 64, 4, 2), 216),
    128: Tiles(Shape(128, 64, 8, 2), Shape(64, 64, 4, 2), 216),
    256: Tiles(Shape(64, 64, 8, 2), Shape(64, 64, 8, 2), 216),
}
_FLOAT_8 = {
    64: Tiles(Shape(64, 32, 4, 2), Shape(32, 64, 4, 2), 216),
    128: Tiles(Shape(64, 32, 8, 1), Shape(32, 64, 8, 1), 216),
    256: Tiles(Shape(32, 32, 8, 1), Shape(32, 32, 8, 1), 216),
}
# GPUs with 100 KiB of shared memory a multiprocessor.
_HALF_SMALL = {
    64: Tiles(Shape(64, 64, 4, 2), Shape(64, 64, 4, 2), 256),
    128: Tiles(Shape(64, 64, 4, 2), Shape(64, 64, 4, 2), 256),
    256: Tiles(Shape(32, 32, 4, 2), Shape(32, 32, 4, 2), 256),
}
_TABLES = {9: (_HALF_9, _FLOAT_9), 10: (_HALF_9, _FLOAT_9), 8: (_HALF_8, _FLOAT_8)}
_SMALL = frozenset({(8, 6), (8, 9), (12, 0), (12, 1)})


def width_of(depth: int) -> int:
    """The power of two, at least 16, that rows of `depth` numbers are padded to."""
    return max(16, 1 << (depth - 1).bit_length())


def tiles_for(capability: tuple[int, int], precision: str, depth: int) -> Tiles:
    """Shapes for a GPU of this compute capability (8.0 or newer) and D = `depth` up to 256.

    `precision` is that of the products: "bf16x6" for float32, else one product.
    """
    half, full = _TABLES.get(capability[0], (_HALF_8, _FLOAT_8))
    if capability in _SMALL:
        half, full = _HALF_SMALL, _FLOAT_8
    table = full if precision == "bf16x6" else half
    return table[max(64, width_of(depth))]


def num_splits(tiles: Tiles, num_positions: int, num_rows: int) -> tuple[int, int]:
    """Into how many parts `forward` splits the rows, and rows a part (a multiple of a tile's)."""
    blocks = -(-num_positions // tiles.forward.positions)
    in_tiles = -(-num_rows // tiles.forward.rows)
    wanted = max(1, min(in_tiles, tiles.programs // blocks))
    per_split = -(-in_tiles // wanted) * tiles.forward.rows
    return -(-num_rows // per_split), per_split
