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
    """Shapes of the two kernels."""

    forward: Shape
    table: Shape


# Nothing is tuned while a run waits: the same GPU always takes the same shapes, so that two runs
# give the same bits. Up to a width of 128 chosen on an H200 among 6 to 15 shapes each, by medians
# at N = 1024 and 2630, V = 100,000 and a million; for other generations by what spills least.
_HALF_9 = {
    64: Tiles(Shape(128, 64, 4, 3), Shape(64, 64, 4, 2)),
    128: Tiles(Shape(128, 64, 8, 3), Shape(64, 64, 4, 2)),
    256: Tiles(Shape(64, 64, 8, 2), Shape(64, 64, 8, 2)),
}
_SIX_9 = {
    64: Tiles(Shape(128, 32, 8, 1), Shape(64, 64, 4, 1)),
    128: Tiles(Shape(128, 64, 8, 1), Shape(32, 64, 4, 2)),
    256: Tiles(Shape(64, 32, 8, 1), Shape(32, 64, 8, 1)),
}
_TF32_9 = {
    64: Tiles(Shape(128, 64, 4, 3), Shape(64, 128, 4, 2)),
    128: Tiles(Shape(64, 64, 8, 2), Shape(64, 64, 8, 2)),
    256: Tiles(Shape(64, 32, 8, 1), Shape(32, 64, 8, 1)),
}
_HALF_8 = {
    64: Tiles(Shape(128, 64, 4, 2), Shape(64, 64, 4, 2)),
    128: Tiles(Shape(128, 64, 8, 2), Shape(64, 64, 4, 2)),
    256: Tiles(Shape(64, 64, 8, 2), Shape(64, 64, 8, 2)),
}
_SIX_8 = {
    64: Tiles(Shape(64, 32, 4, 2), Shape(32, 64, 4, 2)),
    128: Tiles(Shape(64, 32, 8, 1), Shape(32, 64, 8, 1)),
    256: Tiles(Shape(32, 32, 8, 1), Shape(32, 32, 8, 1)),
}
_TF32_8 = {
    64: Tiles(Shape(64, 64, 4, 2), Shape(64, 64, 4, 2)),
    128: Tiles(Shape(64, 32, 8, 2), Shape(32, 64, 8, 2)),
    256: Tiles(Shape(32, 32, 8, 1), Shape(32, 32, 8, 1)),
}
# GPUs with 100 KiB of shared memory a multiprocessor.
_HALF_SMALL = {
    64: Tiles(Shape(64, 64, 4, 2), Shape(64, 64, 4, 2)),
    128: Tiles(Shape(64, 64, 4, 2), Shape(64, 64, 4, 2)),
    256: Tiles(Shape(32, 32, 4, 2), Shape(32, 32, 4, 2)),
}
_SIX_SMALL = {
    64: Tiles(Shape(64, 32, 4, 2), Shape(32, 64, 4, 2)),
    128: Tiles(Shape(32, 32, 4, 1), Shape(32, 32, 4, 1)),
    256: Tiles(Shape(16, 32, 4, 1), Shape(32, 16, 4, 1)),
}
_TF32_SMALL = {
    64: Tiles(Shape(64, 32, 4, 2), Shape(32, 64, 4, 2)),
    128: Tiles(Shape(32, 32, 4, 2), Shape(32, 32, 4, 2)),
    256: Tiles(Shape(32, 16, 4, 1), Shape(16, 32, 4, 1)),
}
_EIGHT = {"half": _HALF_8, "bf16x6": _SIX_8, "tf32": _TF32_8}
_NINE = {"half": _HALF_9, "bf16x6": _SIX_9, "tf32": _TF32_9}
_SMALL = {"half": _HALF_SMALL, "bf16x6": _SIX_SMALL, "tf32": _TF32_SMALL}
# Programs of `forward` that the table is split for: two a multiprocessor of an H100.
_PROGRAMS = 264
_WITH_LITTLE_SHARED_MEMORY = frozenset({(8, 6), (8, 9), (12, 0), (12, 1)})


def width_of(depth: int) -> int:
    """The power of two, at least 16, that rows of `depth` numbers are padded to."""
    return max(16, 1 << (depth - 1).bit_length())


def tiles_for(capability: tuple[int, int], precision: str, depth: int) -> Tiles:
    """Shapes for a GPU of this compute capability (8.0 or newer) and D = `depth` up to 256.

    `precision` is that of the products: "bf16x6" or "tf32" for float32, else of 16-bit numbers.
    """
    tables = _NINE if capability[0] in (9, 10) else _EIGHT
    if capability in _WITH_LITTLE_SHARED_MEMORY:
        tables = _SMALL
    table = tables[precision if precision in tables else "half"]
    return table[max(64, width_of(depth))]


def num_splits(tiles: Tiles, num_positions: int, num_rows: int) -> tuple[int, int]:
    """Into how many parts `forward` splits the rows, and rows a part (a multiple of a tile's)."""
    blocks = -(-num_positions // tiles.forward.positions)
    in_tiles = -(-num_rows // tiles.forward.rows)
    wanted = max(1, min(in_tiles, _PROGRAMS // blocks))
    per_split = -(-in_tiles // wanted) * tiles.forward.rows
    return -(-num_rows // per_split), per_split
