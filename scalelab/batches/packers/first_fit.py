"""Place each sequence in the first row that still has space for it, in the order of the step."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from scalelab.batches.packers import Packed

__all__ = ["FirstFit"]


@dataclass(frozen=True, kw_only=True)
class FirstFit:
    """First fit: at most 1.7 times the fewest rows (Dosa & Sgall, 2013); for short ones near it."""

    def pack(self, lengths: np.ndarray, *, max_len: int, size: int) -> Packed:
        """Row and column of each sequence; see `Packer.pack`."""
        row, column = np.empty_like(lengths), np.empty_like(lengths)
        num_rows = np.empty(-(-len(lengths) // size), np.int64)
        _first_fit(lengths, max_len, size, row, column, num_rows)
        return Packed(row, column, num_rows)


@njit(nogil=True, cache=True)
def _first_fit(lengths, max_len, size, row, column, num_rows):
    used = np.empty(size, np.int32)
    # No row before `at[n]` has space for n items, and none will: rows only fill up. This keeps the
    # search linear in the number of sequences, however many a step takes.
    at = np.empty(max_len + 1, np.int64)
    for step in range(len(num_rows)):
        rows = 0
        at[:] = 0
        for q in range(step * size, min((step + 1) * size, len(lengths))):
            n = lengths[q]
            r = at[n]
            while r < rows and used[r] + n > max_len:
                r += 1
            at[n] = r
            if r == rows:
                used[r] = 0
                rows += 1
            row[q] = r
            column[q] = used[r]
            used[r] += n
        num_rows[step] = rows
