"""Packers: lengths of sequences in, their places in rows out. The file is the name of the packer.

A packer is a frozen dataclass with `pack`. Sequences keep their order within a step as far as their numbers go;
only their places differ between packers, and no place depends on anything but the lengths.
"""

from typing import NamedTuple, Protocol

import numpy as np

__all__ = ["Packed", "Packer"]


class Packed(NamedTuple):
    """Row (from 0 in each step) and first column of each sequence, int32; rows of each step, int64."""

    row: np.ndarray
    column: np.ndarray
    num_rows: np.ndarray


class Packer(Protocol):
    """Any packer of this package."""

    def pack(self, lengths: np.ndarray, *, max_len: int, size: int) -> Packed:
        """Places for sequences of `lengths` (int32, 1..max_len), `size` of them a step.

        No row exceeds `max_len`, no two sequences overlap, no row of a step is empty; the last step
        may be smaller.
        """
        ...
