"""Prepare the training batches of every epoch ahead of time, in a few threads."""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from scalelab.batches._kernels import fill_masked, fill_rows, fill_targets
from scalelab.batches._random import stream_key
from scalelab.batches.batch import Batch
from scalelab.batches.drawing import Drawing, catalog_of, check_clock, check_negatives
from scalelab.batches.steps import EpochPlan, StepChoice, Steps
from scalelab.core.spec import BatchSpec, NegativesSpec
from scalelab.datasets.clock import Clock
from scalelab.datasets.interactions import Histories

__all__ = ["Loader"]

# Small steps are prepared together, so that Python's share of each is small; caches limit how many.
_CHUNK_BYTES = 4 << 20
_CHUNK_STEPS = 256
# The stream of masks; those of the order and of the negatives count from 0.
_MASKS = -1


class Loader(Steps):
    """The training steps of every epoch; see `Steps` for who takes part, in which order and shapes.

    `seed` decides the order and the negatives; neither depends on packer or threads. `wait_s` is
    how long the consumer of `epoch` has waited so far. `clock` has the times of the interactions
    that the histories are slices of. Raises SpecError for negatives that cannot
    be drawn as requested, and DataError for ids out of range or a user who has every item that
    could be drawn.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        num_items: int,
        batch: BatchSpec,
        negatives: tuple[NegativesSpec, ...] = (),
        seed: int,
        train_on: str = "all",
        mask_prob: float = 0.0,
        mask_last_prob: float = 0.0,
        every_prefix: bool | None = None,
        threads: int = 1,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(
            histories.lengths,
            batch=batch,
            seed=seed,
            train_on=train_on,
            mask_prob=mask_prob,
            mask_last_prob=mask_last_prob,
            every_prefix=every_prefix,
        )
        check_negatives(negatives, min(self.size, self.num_sequences))
        check_clock(negatives, clock is not None)
        self.num_items = num_items
        self.threads = max(1, threads)
        self.wait_s = 0.0
        self._catalog = catalog_of(histories, num_items, clock)
        self._drawing = Drawing(negatives, self._catalog, seed)
        # Compiles the kernels or loads them from disk, so that no step's time contains it.
        self.batch(0, self.num_steps - 1)

    @cached_property
    def log_popularity(self) -> np.ndarray:
        """Log of each item's share of the training interactions, float32 (V,).

        Items that never occur, and padding, count as if they occurred once, so that all is finite.
        """
        counts_V = self._catalog.counts_V
        return np.log(np.maximum(counts_V, 1) / counts_V.sum()).astype(np.float32)

    def log_shares(self) -> tuple[np.ndarray | None, ...]:
        """See `Drawing.log_shares`."""
        return self._drawing.log_shares()

    def batch(self, epoch: int, step: int) -> Batch:
        """One step, prepared now, in tensors whose memory holds nothing else."""
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step {step} of {self.num_steps}")
        return self._prepare(self.plan(epoch), epoch, range(step, step + 1))[0]

    def batch_of(self, choice: StepChoice) -> Batch:
        """The batch of a step that `largest_steps` gave."""
        if choice.epoch is None:
            return self._prepare(self.longest_plan(), 0, range(1))[0]
        return self.batch(choice.epoch, choice.step)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """All steps of an epoch in order, prepared ahead.

        The tensors of neighbouring steps share memory. What a thread raises is raised here; a
        consumer that stops early leaves no thread behind.
        """
        waiting_since = time.perf_counter()
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="scalelab-batches")
        pending: deque[Future[list[Batch]]] = deque()
        try:
            plan = self.plan(epoch)
            chunks = self._chunks(plan)
            for steps in islice(chunks, 2 * self.threads):
                pending.append(pool.submit(self._prepare, plan, epoch, steps))
            while pending:
                ready = pending.popleft().result()
                for steps in islice(chunks, 1):
                    pending.append(pool.submit(self._prepare, plan, epoch, steps))
                if not pending:
                    pool.submit(self.plan, epoch + 1)  # kept, so that the next epoch starts at once
                self.wait_s += time.perf_counter() - waiting_since
                yield from ready
                waiting_since = time.perf_counter()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _chunks(self, plan: EpochPlan) -> Iterator[range]:
        """Steps that are prepared together; the first few are small, so that training starts."""
        rows = int(plan.row_offsets[-1]) // self.num_steps + 1
        positions = int(plan.position_offsets[-1]) // self.num_steps + 1
        drawn = self._drawing.num_bytes(positions=positions, sequences=self.size)
        step_bytes = 12 * rows * self.max_len + 21 * positions + 4 * self.size + drawn
        most = max(1, min(_CHUNK_STEPS, _CHUNK_BYTES // step_bytes))
        begin, length = 0, 1
        while begin < self.num_steps:
            end = min(begin + length, self.num_steps)
            yield range(begin, end)
            begin, length = end, min(4 * length, most)

    def _prepare(self, plan: EpochPlan, epoch: int, steps: range) -> list[Batch]:
        """Consecutive steps, in tensors that they share."""
        max_len = self.max_len
        some = slice(steps.start * self.size, min(steps.stop * self.size, self.num_sequences))
        users, counts = plan.users[some].copy(), plan.counts[some]
        places = (plan.row[some], plan.column[some])
        row_offsets = plan.row_offsets[steps.start : steps.stop + 1] - plan.row_offsets[steps.start]
        offsets = plan.position_offsets[steps.start : steps.stop + 1]
        offsets = offsets - offsets[0]
        sequence_offsets = np.minimum(np.arange(len(steps) + 1) * self.size, len(users))
        is_last = plan.is_last[some]
        num_targets = self._num_targets(counts, is_last)
        items, ends = self._catalog.items, self._catalog.ends[users]
        if plan.after is not None:
            ends -= plan.after[some]
        first = ends - counts
        if not self.mask_prob:  # the very last item is a target only
            first = first - 1

        rows = [np.zeros(row_offsets[-1] * max_len, np.int32) for _ in range(3)]
        fill_rows(items, first, counts, *places, row_offsets, self.size, max_len, *rows)
        dtypes = (np.int64, np.int64, np.int32)  # valid, targets, sequence
        positions = [np.empty(offsets[-1], dtype) for dtype in dtypes]
        if self.mask_prob:
            key = stream_key(self.seed, epoch, _MASKS)
            where = (*places, row_offsets, self.size, max_len, key, users, is_last)
            fill_masked(counts, num_targets, *where, rows[0], *positions)
        else:
            how = (self.size, max_len, self.last_only)
            fill_targets(items, first, counts, *places, *how, *positions)
        negatives = self._drawing.draw(
            epoch=epoch,
            steps=steps,
            users=users,
            first_position=self._first_positions(users, counts, ends),
            own_sequences=self.every_prefix,
            num_targets=num_targets,
            sequence_offsets=sequence_offsets,
            targets_N=positions[1],
        )

        columns = [_split(array.reshape(-1, max_len), row_offsets) for array in rows]
        columns += [_split(array, offsets) for array in positions]
        columns.append(_split(users, sequence_offsets))
        return [
            Batch(
                item_ids_BL=item_ids_BL,
                segments_BL=segments_BL,
                positions_BL=positions_BL,
                valid_N=valid_N,
                targets_N=targets_N,
                sequence_N=sequence_N,
                users_S=users_S,
                negatives=drawn,
            )
            for (
                item_ids_BL,
                segments_BL,
                positions_BL,
                valid_N,
                targets_N,
                sequence_N,
                users_S,
                drawn,
            ) in zip(*columns, negatives, strict=True)
        ]

    def _first_positions(
        self, users: np.ndarray, counts: np.ndarray, ends: np.ndarray
    ) -> np.ndarray:
        """The number, in its history, of the first position of each sequence that has a target."""
        if self.every_prefix:  # two of a user's may have as many inputs
            return (ends - 2 - self._catalog.starts[users]).astype(np.int32)
        return counts - 1 if self.last_only else np.zeros_like(counts)


def _split(array: np.ndarray, offsets: np.ndarray) -> tuple[Tensor, ...]:
    return torch.from_numpy(array).split(np.diff(offsets).tolist())
