"""Place sequences in rows, given their lengths. The file's name is the packer's name.

A packer is a frozen dataclass with `pack`. Packers differ in nothing but the places they give, and
a place depends on nothing but lengths: sequences keep their step and their number in it. One whose
class says `every_prefix = True` is given all prefixes of all histories, each a sequence of its own
with one target; the others are given one sequence a user.
"""

from typing import NamedTuple, Protocol

import numpy as np

__all__ = ["Packed", "Packer"]


class Packed(NamedTuple):
    """Row (from 0 in each step) and first column of sequences, int32; rows of steps, int64."""

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
