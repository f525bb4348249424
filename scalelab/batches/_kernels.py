"""Write sequences into rows for the encoder, and targets for the loss, in numba kernels."""

import numpy as np
from numba import njit

from scalelab.batches._random import below, fold

__all__ = ["MASK", "count_items", "fill_masked", "fill_rows", "fill_targets", "ids_in_range"]

# Stands in a row where the model is to guess the item.
MASK = -1


# Indices of inner loops are unsigned: a signed one might count from the end, and that check takes
# half of the time.
@njit(nogil=True, cache=True)
def fill_rows(
    items,
    first,
    count,
    row,
    column,
    row_offsets,
    size,
    max_len,
    item_ids,
    segments,
    positions,
):
    """Write sequence q, `items[first[q] : first[q] + count[q]]`, at its row and column.

    Steps of `size` sequences follow one another; the rows of step t begin at `row_offsets[t]`. The
    output arrays are the flat array of rows of `max_len` and hold zeros.
    """
    for step in range(len(row_offsets) - 1):
        segment = np.int32(0)
        for q in range(step * size, min((step + 1) * size, len(first))):
            segment += np.int32(1)
            at = np.uint64((row_offsets[step] + row[q]) * max_len + column[q])
            f = np.uint64(first[q])
            for i in range(np.uint64(count[q])):
                item_ids[at + i] = items[f + i]
                segments[at + i] = segment
                positions[at + i] = i


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
):
    """Write place, target and sequence of each position with a target, by sequence, then time."""
    one = np.uint64(1)
    n = np.uint64(0)
    for q in range(len(first)):
        at = np.int64(row[q]) * max_len + column[q]
        f = np.uint64(first[q] + 1)
        sequence = np.int32(q % size)
        begin = np.uint64(count[q] - 1 if last_only else 0)
        for i in range(begin, np.uint64(count[q])):
            valid_N[n] = at + np.int64(i)
            targets_N[n] = items[f + i]
            sequence_N[n] = sequence
            n += one


@njit(nogil=True, cache=True)
def fill_masked(
    count,
    num_targets,
    row,
    column,
    row_offsets,
    size,
    max_len,
    key,
    users,
    is_last,
    item_ids,
    valid_N,
    targets_N,
    sequence_N,
):
    """Choose `num_targets[q]` items of sequence q as targets and write `MASK` in their places.

    Every choice is equally likely (Knuth's selection sampling) and depends on `key` and user alone;
    where `is_last[q]` it is the last item. `item_ids` holds the rows as `fill_rows` wrote them.
    """
    n = 0
    for step in range(len(row_offsets) - 1):
        for q in range(step * size, min((step + 1) * size, len(count))):
            at = row[q] * max_len + column[q]
            base = row_offsets[step] * max_len
            stream = fold(key, users[q])
            wanted = num_targets[q]
            for i in range(count[q]):
                left = count[q] - i
                if is_last[q]:
                    chosen = left == 1
                else:
                    chosen = below(fold(stream, i), np.uint64(left)) < np.uint64(wanted)
                if chosen:
                    valid_N[n] = at + i
                    targets_N[n] = item_ids[base + at + i]
                    item_ids[base + at + i] = MASK
                    sequence_N[n] = q % size
                    wanted -= 1
                    n += 1


@njit(nogil=True, cache=True)
def choose_evenly(key, users, share, chosen):
    """Mark users (bool), each with the probability `share`, by `key` and user alone."""
    for q in range(len(users)):
        # The bound of a share of 1 would be 2^64, which no uint64 holds.
        chosen[q] = share >= 1.0 or fold(key, users[q]) < np.uint64(share * 2.0**63) * np.uint64(2)


@njit(nogil=True, cache=True)
def ids_in_range(items, starts, ends, num_items):
    """Whether every id in the histories lies in 1..num_items."""
    for u in range(len(starts)):
        for i in range(starts[u], ends[u]):
            if items[i] < 1 or items[i] > num_items:
                return False
    return True


@njit(nogil=True, cache=True)
def count_items(items, starts, ends, counts_V):
    """Add up how often each item occurs in the histories, whose ids are in range."""
    for u in range(len(starts)):
        for i in range(starts[u], ends[u]):
            counts_V[items[i]] += 1
