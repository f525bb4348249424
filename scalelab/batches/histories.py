"""Turn histories into rows for the encoder without targets, as evaluation needs them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scalelab.batches._kernels import MASK, fill_rows
from scalelab.batches.drawing import plain
from scalelab.batches.packers import Packer
from scalelab.core import plugins
from scalelab.datasets.interactions import Histories

__all__ = ["BlockShape", "HistoryBatch", "block_shapes", "history_batches"]


class BlockShape(NamedTuple):
    """A block of evaluation: packed rows, sequences, items that its users have seen, and all users
    that are evaluated, whose ranks are kept until the end.
    """

    num_rows: int
    num_sequences: int
    num_seen: int
    num_users: int


@dataclass(frozen=True, kw_only=True)
class HistoryBatch:
    """Some histories. B rows, L = max_len, S sequences.

    `item_ids_BL`, `segments_BL` and `positions_BL` as in `Batch`; `last_S` int64 (flat index into
    B x L of each sequence's last item), `users_S` int32 (index into the histories). `user_rows_S`
    int32 (rows of a model's table of users), where they are known.
    """

    item_ids_BL: Tensor
    segments_BL: Tensor
    positions_BL: Tensor
    last_S: Tensor
    users_S: Tensor
    user_rows_S: Tensor | None = None


def block_shapes(
    lengths: np.ndarray, *, packer: str, max_len: int, size: int, masked: bool = False
) -> list[BlockShape]:
    """The sizes of the batches of `history_batches`, from the lengths of the histories alone."""
    lengths = lengths[lengths > 0]
    if len(lengths) == 0:
        return []
    how: Packer = plugins.load("packers", packer)()
    places = np.minimum(lengths + masked, max_len).astype(np.int32)
    rows = how.pack(places, max_len=max_len, size=size).num_rows
    begins = np.arange(0, len(lengths), size)
    seen = np.add.reduceat(lengths, begins, dtype=np.int64)
    sequences = np.minimum(begins + size, len(lengths)) - begins
    return [
        BlockShape(*sizes, len(lengths))
        for sizes in zip(rows.tolist(), sequences.tolist(), seen.tolist(), strict=True)
    ]


def history_batches(
    histories: Histories,
    *,
    packer: str,
    max_len: int,
    size: int,
    masked: bool = False,
    first: int = 0,
) -> Iterator[HistoryBatch]:
    """The last `max_len` items of every history that has any, in order, `size` histories a batch.

    With `masked` one item fewer, and then a masked place, for which the next item is to be guessed.
    `first` is the batch to begin with. Raises SpecError for an unknown packer.
    """
    how: Packer = plugins.load("packers", packer)()
    items = plain(histories.item_ids, np.int32)
    users = np.flatnonzero(histories.lengths > 0).astype(np.int32)
    for begin in range(first * size, len(users), size):
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
