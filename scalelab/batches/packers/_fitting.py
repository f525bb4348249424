"""Place the longest sequences of a step first, each in the row that it fills best."""

import numpy as np
from numba import njit

from scalelab.batches.packers import Packed

__all__ = ["best_fit"]


def best_fit(lengths: np.ndarray, *, max_len: int, size: int) -> Packed:
    """Best fit decreasing: 11/9 of the fewest rows at most, and a constant (Johnson, 1974)."""
    row, column = np.empty_like(lengths), np.empty_like(lengths)
    num_rows = np.empty(-(-len(lengths) // size), np.int64)
    _best_fit(lengths, max_len, size, row, column, num_rows)
    return Packed(row, column, num_rows)


@njit(nogil=True, cache=True)
def _best_fit(lengths, max_len, size, row, column, num_rows):
    used = np.empty(size, np.int32)
    order = np.empty(size, np.int64)
    # Rows by the places left in them: a stack for each number of places, linked through `below`.
    top = np.empty(max_len + 1, np.int64)
    below = np.empty(size, np.int64)
    for step in range(len(num_rows)):
        begin, end = step * size, min((step + 1) * size, len(lengths))
        _longest_first(lengths, begin, end, max_len, order)
        top[:] = -1
        rows = 0
        for i in range(end - begin):
            q = order[i]
            n = lengths[q]
            space = n
            while space <= max_len and top[space] < 0:
                space += 1
            if space > max_len:
                r = rows
                used[r] = 0
                rows += 1
                space = max_len
            else:
                r = top[space]
                top[space] = below[r]
            row[q] = r
            column[q] = used[r]
            used[r] += n
            below[r] = top[space - n]
            top[space - n] = r
        num_rows[step] = rows


@njit(nogil=True, cache=True)
def _longest_first(lengths, begin, end, max_len, order):
    """Counting sort of begin..end-1 by falling length; equal lengths keep their order."""
    place = np.zeros(max_len + 2, np.int64)
    for q in range(begin, end):
        place[max_len - lengths[q] + 1] += 1
    for i in range(1, max_len + 2):
        place[i] += place[i - 1]
    for q in range(begin, end):
        slot = max_len - lengths[q]
        order[place[slot]] = q
        place[slot] += 1
