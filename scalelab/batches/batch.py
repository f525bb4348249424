"""Hold what one training step takes: rows for the encoder, targets and negatives."""

from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor

from scalelab.batches.moving import moved

__all__ = ["Batch", "BatchShape", "NegativeIds"]


class NegativeIds(NamedTuple):
    """Item ids of one source, int32: (N, K) per position, (S, K) per sequence, (K,) per batch.

    0 marks an empty place, which only `in_batch` leaves: a step without other targets has none to
    draw.
    """

    per: str
    ids: Tensor
    exponent: float | None


class BatchShape(NamedTuple):
    """Sizes of a step, known from lengths and seed alone: no data needed."""

    num_rows: int
    max_len: int
    num_sequences: int
    num_positions: int


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One step. B rows, L = max_len, S sequences, N positions that have a target.

    `item_ids_BL` int32 (0 padding), `segments_BL` int32 (0 padding, else 1 + sequence index),
    `positions_BL` int32 (from 0 within a sequence), `valid_N` int64 (flat index into B x L),
    `targets_N` int64, `sequence_N` int32 (0..S-1), `users_S` int32.
    Positions are ordered by sequence, then time, so that the order of N does not depend on the
    packer.
    """

    item_ids_BL: Tensor
    segments_BL: Tensor
    positions_BL: Tensor
    valid_N: Tensor
    targets_N: Tensor
    sequence_N: Tensor
    users_S: Tensor
    negatives: tuple[NegativeIds, ...] = ()

    @property
    def shape(self) -> BatchShape:
        """Sizes of this step."""
        rows, max_len = self.item_ids_BL.shape
        return BatchShape(rows, max_len, self.users_S.numel(), self.targets_N.numel())

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on `device`; on a GPU all of it is one storage."""
        names = [f.name for f in fields(self) if f.name != "negatives"]
        plain = [getattr(self, name) for name in names]
        ids = [source.ids for source in self.negatives]
        there = moved([*plain, *ids], torch.device(device))
        sources = tuple(
            source._replace(ids=tensor)
            for source, tensor in zip(self.negatives, there[len(names) :], strict=True)
        )
        return replace(self, **dict(zip(names, there, strict=False)), negatives=sources)
