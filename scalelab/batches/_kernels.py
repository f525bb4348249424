"""Sequences and their places in, rows for the encoder and targets for the loss out."""

import numpy as np
from numba import njit

__all__ = ["count_items", "fill_rows", "fill_targets"]


@njit(nogil=True, cache=True)
def fill_rows(
    items, first, count, row, column, row_offsets, size, item_ids_RL, segments_RL, positions_RL
):
    """Write sequence q, `items[first[q] : first[q] + count[q]]`, at its row and column.

    Steps of `size` sequences follow one another; the rows of step t begin at `row_offsets[t]`. The
    output arrays hold zeros.
    """
    for q in range(len(first)):
        r = row_offsets[q // size] + row[q]
        c, f = column[q], first[q]
        segment = np.int32(q % size + 1)
        for i in range(count[q]):
            item_ids_RL[r, c + i] = items[f + i]
            segments_RL[r, c + i] = segment
            positions_RL[r, c + i] = i


@njit(nogil=True, cache=True)
def fill_targets(
    items,
    first,
    count,
    row,
    column,
    size,
    max_len,
    last_only,
    valid_N,
    targets_N,
    sequence_N,
    last_N,
):
    """Write place, target and sequence of each position with a target, by sequence, then time."""
    n = 0
    for q in range(len(first)):
        flat = np.int64(row[q]) * max_len + column[q]
        f = first[q] + 1
        sequence = np.int32(q % size)
        begin = count[q] - 1 if last_only else 0
        for i in range(begin, count[q]):
            valid_N[n] = flat + i
            targets_N[n] = items[f + i]
            sequence_N[n] = sequence
            last_N[n] = False
            n += 1
        last_N[n - 1] = True


@njit(nogil=True, cache=True)
def count_items(items, starts, ends, counts_V):
    """Add up how often each item occurs in the histories; False if an id lies outside 1..V-1."""
    for u in range(len(starts)):
        for i in range(starts[u], ends[u]):
            item = items[i]
            if item < 1 or item >= len(counts_V):
                return False
            counts_V[item] += 1
    return True
