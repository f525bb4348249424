"""Turn histories into rows for the encoder without targets, as evaluation needs them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from scalelab.batches._kernels import MASK, fill_rows
from scalelab.batches.drawing import plain
from scalelab.batches.packers import Packer
from scalelab.core import plugins
from scalelab.datasets.interactions import Histories

__all__ = ["HistoryBatch", "first_rows", "history_batches"]


@dataclass(frozen=True, kw_only=True)
class HistoryBatch:
    """Some histories. B rows, L = max_len, S sequences.

    `item_ids_BL`, `segments_BL` and `positions_BL` as in `Batch`; `last_S` int64 (flat index into
    B x L of each sequence's last item), `users_S` int32 (index into the histories).
    """

    item_ids_BL: Tensor
    segments_BL: Tensor
    positions_BL: Tensor
    last_S: Tensor
    users_S: Tensor


def first_rows(lengths: np.ndarray, *, packer: str, max_len: int, masked: bool = False) -> int:
    """B of a batch of histories of these lengths (all above 0)."""
    how: Packer = plugins.load("packers", packer)()
    counts = np.minimum(lengths + masked, max_len).astype(np.int32)
    return int(how.pack(counts, max_len=max_len, size=len(counts))[2][0])


def history_batches(
    histories: Histories, *, packer: str, max_len: int, size: int, masked: bool = False
) -> Iterator[HistoryBatch]:
    """The last `max_len` items of every history that has any, in order, `size` histories a batch.

    With `masked` one item fewer, and then a masked place, for which the next item is to be guessed.
    Raises SpecError for an unknown packer.
    """
    how: Packer = plugins.load("packers", packer)()
    items = plain(histories.item_ids, np.int32)
    users = np.flatnonzero(histories.lengths > 0).astype(np.int32)
    for begin in range(0, len(users), size):
        some = users[begin : begin + size].copy()
        ends = histories.ends[some].astype(np.int64)
        lengths = ends - histories.starts[some] + masked
        places = np.minimum(lengths, max_len).astype(np.int32)
        row, column, num_rows = how.pack(places, max_len=max_len, size=size)
        counts = places - np.int32(masked)
        row_offsets = np.array([0, num_rows[0]], np.int64)
        rows = [np.zeros(num_rows[0] * max_len, np.int32) for _ in range(3)]
        fill_rows(items, ends - counts, counts, row, column, row_offsets, size, max_len, *rows)
        last = row.astype(np.int64) * max_len + column + places - 1
        if masked:
            for array, value in zip(rows, (MASK, np.arange(1, len(some) + 1), counts), strict=True):
                array[last] = value
        item_ids_BL, segments_BL, positions_BL = (
            torch.from_numpy(array.reshape(-1, max_len)) for array in rows
        )
        yield HistoryBatch(
            item_ids_BL=item_ids_BL,
            segments_BL=segments_BL,
            positions_BL=positions_BL,
            last_S=torch.from_numpy(last),
            users_S=torch.from_numpy(some),
        )
