"""Prepare the batches of a pre-training: masked items, and segments that are to be recognised."""

from dataclasses import dataclass

import numpy as np
import torch
from numba import njit
from torch import Tensor

from scalelab.batches._kernels import MASK
from scalelab.batches._random import below, fold, stream_key
from scalelab.batches.batch import Batch
from scalelab.batches.loader import Loader
from scalelab.batches.steps import EpochPlan, Steps
from scalelab.core.errors import SpecError
from scalelab.core.spec import BatchSpec, NegativesSpec
from scalelab.datasets.interactions import Histories

__all__ = [
    "NEGATIVES",
    "PretrainingBatch",
    "PretrainingLoader",
    "pretraining_steps",
]

# One item that the user does not have, for each position.
NEGATIVES = (NegativesSpec(name="uniform", num_negatives=1, per="position", reject=True),)
# The streams of orders and negatives that only pre-training has, and in them that of its choices.
_PRETRAINING, _CHOICES = -3, -1
_LONGEST = 2**16


@dataclass(frozen=True, kw_only=True)
class PretrainingBatch(Batch):
    """One step of pre-training. Every item of a history is an input and has a position of its own.

    `targets_N` are all items, `masked_N` (bool) says which of them `item_ids_BL` hides behind a
    negative id. `context_BL` hides a segment of each history, `segment_BL` all but that segment;
    `other_BL` is like `segment_BL` with items from elsewhere in it. `last_S` int64 is the place of
    each history's last item, a flat index into B x L.
    """

    masked_N: Tensor
    context_BL: Tensor
    segment_BL: Tensor
    other_BL: Tensor
    last_S: Tensor


def pretraining_steps(
    lengths: np.ndarray, batch: BatchSpec, seed: int, every_prefix: bool = False
) -> Steps:
    """The shapes of all steps, from the lengths of the training histories alone."""
    _check_length(batch, every_prefix)
    return Steps(lengths, batch=batch, seed=_seed(seed), mask_prob=1.0, every_prefix=every_prefix)


class PretrainingLoader(Loader):
    """The steps of each epoch of pre-training: each user once, with the last `max_len` items.

    With `every_prefix` these items are a sequence for each of their prefixes of two items or more:
    each has its own masks, segments and negatives.

    An item is masked with the probability `mask_prob`, the last one always. A segment is at most
    half of its history. The segment from elsewhere is as long and begins anywhere in the training
    histories, laid end to end. All of it depends on seed, epoch, user and prefix alone.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        num_items: int,
        batch: BatchSpec,
        seed: int,
        mask_prob: float,
        every_prefix: bool = False,
        threads: int = 1,
    ) -> None:
        _check_length(batch, every_prefix)
        self._masks_below = np.uint64(min(mask_prob, 1.0) * (2.0**64 - 2.0**11))
        lengths = histories.lengths
        if int(lengths.sum()) >= 2**32:
            raise SpecError(
                "pre-training draws segments from fewer than 2^32 training interactions",
                "--set model.pretrain_epochs=0",
            )
        # Where each training history ends if they are laid end to end.
        self._ends = np.cumsum(lengths, dtype=np.int64)
        super().__init__(
            histories,
            num_items=num_items,
            batch=batch,
            negatives=NEGATIVES,
            seed=_seed(seed),
            mask_prob=1.0,
            every_prefix=every_prefix,
            threads=threads,
        )

    def _prepare(self, plan: EpochPlan, epoch: int, steps: range) -> list[Batch]:
        key = stream_key(self.seed, epoch, _CHOICES)
        return [self._hidden(batch, key) for batch in super()._prepare(plan, epoch, steps)]

    def _first_positions(
        self, users: np.ndarray, counts: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        """Numbers apart for each prefix of a user, so that each has negatives of its own."""
        if self.every_prefix:
            return (counts.astype(np.int64) * (counts - 1) // 2).astype(np.int32)
        return super()._first_positions(users, counts, ends)

    def _hidden(self, batch: Batch, key: np.uint64) -> PretrainingBatch:
        rows, max_len, sequences, positions = batch.shape
        hidden = tuple(np.zeros(rows * max_len, np.int32) for _ in range(4))
        masked_N, last_S = np.empty(positions, np.bool_), np.empty(sequences, np.int64)
        fill_hidden(
            batch.valid_N.numpy(),
            batch.targets_N.numpy(),
            batch.sequence_N.numpy(),
            batch.users_S.numpy(),
            self._catalog.items,
            self._catalog.starts,
            self._ends,
            key,
            self.every_prefix,
            self._masks_below,
            masked_N,
            hidden,
            last_S,
        )
        item_ids_BL, context_BL, segment_BL, other_BL = (
            torch.from_numpy(each.reshape(-1, max_len)) for each in hidden
        )
        same = {name: value for name, value in vars(batch).items() if name != "item_ids_BL"}
        return PretrainingBatch(
            **same,
            item_ids_BL=item_ids_BL,
            masked_N=torch.from_numpy(masked_N),
            context_BL=context_BL,
            segment_BL=segment_BL,
            other_BL=other_BL,
            last_S=torch.from_numpy(last_S),
        )


def _check_length(batch: BatchSpec, every_prefix: bool) -> None:
    # Positions of all prefixes of a user are numbered in 31 bits.
    if every_prefix and batch.max_len > _LONGEST:
        raise SpecError(
            f"pre-training on prefixes takes at most the last {_LONGEST} items of a history",
            'write model.pretrain_samples = "histories"',
        )


def _seed(seed: int) -> int:
    """Another order of users and other negatives than those of the training."""
    return int(stream_key(seed, _PRETRAINING) >> np.uint64(1))


@njit(nogil=True, cache=True)
def fill_hidden(
    valid_N,
    targets_N,
    sequence_N,
    users_S,
    items,
    starts,
    ends,
    key,
    every_prefix,
    masks_below,
    masked_N,
    rows,
    last_S,
):
    """Choose masks and segments of each sequence by `key` and user, and write the four rows.

    `rows` are flat and hold zeros. A sequence has consecutive entries of `valid_N`. With
    `every_prefix` the choices depend on the length too, which distinguishes prefixes of a user.
    """
    item_ids, context, segment, other = rows
    n = 0
    while n < len(valid_N):
        s = sequence_N[n]
        count = 1
        while n + count < len(valid_N) and sequence_N[n + count] == s:
            count += 1
        at = valid_N[n]
        last_S[s] = at + count - 1
        stream = fold(key, users_S[s])
        if every_prefix:
            stream = fold(stream, count)
        length = 1 + np.int64(below(fold(stream, count), np.uint64(max(1, count // 2))))
        begin = np.int64(below(fold(stream, count + 1), np.uint64(count - length + 1)))
        place = np.int64(below(fold(stream, count + 2), np.uint64(ends[-1] - length + 1)))
        user = np.searchsorted(ends, place, side="right")
        for i in range(count):
            item = np.int32(targets_N[n + i])
            is_masked = i == count - 1 or fold(stream, i) < masks_below
            masked_N[n + i] = is_masked
            item_ids[at + i] = MASK if is_masked else item
            if begin <= i < begin + length:
                while place >= ends[user]:
                    user += 1
                before = ends[user - 1] if user > 0 else 0
                context[at + i] = MASK
                segment[at + i] = item
                other[at + i] = items[starts[user] + place - before]
                place += 1
            else:
                context[at + i] = item
                segment[at + i] = MASK
                other[at + i] = MASK
        n += count
