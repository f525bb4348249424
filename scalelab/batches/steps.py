"""Plan the steps of every epoch from lengths and a seed: which user goes into which row."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from scalelab.batches._kernels import choose_evenly
from scalelab.batches._random import stream_key
from scalelab.batches.batch import BatchShape
from scalelab.batches.largest import not_exceeded
from scalelab.batches.packers import Packer
from scalelab.batches.samples import Samples, Some
from scalelab.core import plugins
from scalelab.core.cores import available_cores
from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import BatchSpec

__all__ = ["EpochPlan", "StepChoice", "Steps"]

_KEPT_PLANS = 2
# By sequence: of a plan five numbers in int32 and a bool, and three more while it is made.
_PLAN_BYTES, _MAKING_BYTES = 21, 12
# Of the stream of numbers that says which sequences mask their last item alone.
_LAST = -2
# Sequences that are packed at most to find the largest steps, about 50 ns each: 10 seconds.
_MOST_SEARCHED = 200_000_000
# Sequences whose places are held at once meanwhile, about 400 MB.
_MOST_PLANNED = 20_000_000
# What was found: the runs of a study that differ in their loss or model have the same steps.
_FOUND: dict[tuple[Any, ...], tuple["StepChoice", ...]] = {}


class EpochPlan(NamedTuple):
    """Sequences in the order of the epoch: user, number of inputs, row in the step, first column,
    whether the last item alone is a target, and how many items of the history come after what the
    sequence uses (None: none).

    All are int32, one entry per sequence, the fifth bool. Step t has rows
    `row_offsets[t]` to `row_offsets[t + 1]` of the epoch and its positions with a target lie
    between `position_offsets` likewise (both int64).
    """

    users: np.ndarray
    counts: np.ndarray
    row: np.ndarray
    column: np.ndarray
    is_last: np.ndarray
    after: np.ndarray | None
    row_offsets: np.ndarray
    position_offsets: np.ndarray


class StepChoice(NamedTuple):
    """A step by epoch and place, both from 0, with its sizes.

    `epoch` None is the largest possible step: the longest histories of all
    users come together in it. A step of a pre-training says so.
    """

    epoch: int | None
    step: int
    shape: BatchShape
    is_pretraining: bool = False


class Steps:
    """Shapes of all training steps, from the lengths of the training histories alone.

    `lengths` has one entry per user. A user with at least two items takes part once an epoch, with
    the last `max_len + 1` items: all but the last are inputs, all but the first are targets; with
    `train_on` "last" only the last target counts. With `mask_prob` above 0 the last `max_len`
    items are inputs, and of these that share, at least one, are masked targets (BERT4Rec's cloze
    task); with "last" the last one, and so with the probability `mask_last_prob` in an epoch.
    A packer of `every_prefix` makes a sequence of every item but the first, its target, and of at
    most `max_len` items before it. With masked targets `every_prefix` is given instead: then
    the last `max_len` items give a sequence of their first two, their first three and so on.
    Raises SpecError for a name that does not exist, or for prefixes of which not every item would
    be a target, and DataError where no user has two items.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        *,
        batch: BatchSpec,
        seed: int,
        train_on: str = "all",
        mask_prob: float = 0.0,
        mask_last_prob: float = 0.0,
        every_prefix: bool | None = None,
    ) -> None:
        if train_on not in ("all", "last"):
            raise SpecError(f"invalid train_on: {train_on!r}", "there are: all, last")
        lengths = np.asarray(lengths)
        self._packer: Packer = plugins.load("packers", batch.packer)()
        packs_prefixes: bool = getattr(self._packer, "every_prefix", False)
        if packs_prefixes and every_prefix is None:
            _check_prefixes(batch.packer, train_on, mask_prob)
        self.every_prefix = packs_prefixes if every_prefix is None else every_prefix
        self.size = batch.size
        self.max_len = batch.max_len
        self.seed = seed
        self.last_only = train_on == "last" or (self.every_prefix and not mask_prob)
        self.mask_prob = mask_prob
        self.mask_last_prob = mask_last_prob
        # A masked target is an input of its own, another one is the item after an input.
        self._samples = Samples(
            np.minimum(lengths, batch.max_len) if mask_prob and self.every_prefix else lengths,
            max_len=batch.max_len,
            shifted=not mask_prob,
            every_prefix=self.every_prefix,
        )
        if len(self._samples) == 0:
            raise DataError(
                f"no training history has two items ({len(lengths)} users)",
                "check the filters and the split: a target needs an item before it",
            )
        self._plans: OrderedDict[int, EpochPlan] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def num_sequences(self) -> int:
        """Sequences in an epoch."""
        return len(self._samples)

    @property
    def prefix_bytes(self) -> int:
        """What prefixes take of a process's memory: their index and the plans of some epochs; 0
        where there is one sequence a user.
        """
        if not self._samples.num_bytes:
            return 0
        plans = (_KEPT_PLANS + 1) * _PLAN_BYTES + _MAKING_BYTES
        return self._samples.num_bytes + plans * len(self._samples)

    @property
    def num_steps(self) -> int:
        """Steps in an epoch; the last may hold fewer sequences."""
        return -(-self.num_sequences // self.size)

    def shape(self, epoch: int, step: int) -> BatchShape:
        """Sizes of one step."""
        if not 0 <= step < self.num_steps:
            raise IndexError(f"step {step} of {self.num_steps}")
        return self._shape(self.plan(epoch), step)

    def _shape(self, plan: EpochPlan, step: int) -> BatchShape:
        rows = plan.row_offsets[step + 1] - plan.row_offsets[step]
        positions = plan.position_offsets[step + 1] - plan.position_offsets[step]
        sequences = min((step + 1) * self.size, len(plan.users)) - step * self.size
        return BatchShape(int(rows), self.max_len, sequences, int(positions))

    def largest_step(self, epoch: int, first: int = 0) -> int:
        """The step with most positions that have a target, among those from `first` on."""
        if not 0 <= first < self.num_steps:
            raise IndexError(f"step {first} of {self.num_steps}")
        return first + int(np.argmax(np.diff(self.plan(epoch).position_offsets)[first:]))

    def largest_steps(
        self, epochs: int, max_steps: int = 0, loss_bytes: Callable[[int, int], int] | None = None
    ) -> tuple[StepChoice, ...]:
        """The steps that may need most memory, among those of `epochs`; with `max_steps` above 0,
        of the epochs that so many steps begin.

        Memory grows with rows, positions and sequences, so it is every step that no other one
        equals or exceeds in all three: one as a rule, seldom more than three, in the order of rows.
        Of equal ones the first. `loss_bytes` (of positions and of places in rows) is given where a
        loss may need more with fewer positions: then a step counts as well for which it says more
        than for all larger ones.

        All steps are looked at; where that would take more than some ten seconds, it is the largest
        possible step instead.
        """
        if max_steps:
            epochs = min(epochs, -(-max_steps // self.num_steps))
        counts = hashlib.blake2b(self._samples.counts.tobytes()).digest()
        how = (repr(self._packer), self.size, self.max_len, self.last_only, self.mask_prob)
        key = (counts, *how, self.mask_last_prob, self.seed, epochs)
        if key not in _FOUND:
            if epochs * self.num_sequences > _MOST_SEARCHED:
                shape = self._shape(self.longest_plan(), 0)
                _FOUND[key] = (StepChoice(None, 0, shape),)
            else:
                _FOUND[key] = self._search(epochs)
        if loss_bytes is None:
            return not_exceeded(_FOUND[key])

        def estimated(choice: StepChoice) -> tuple[int]:
            shape = choice.shape
            return (loss_bytes(shape.num_positions, shape.num_rows * shape.max_len),)

        return not_exceeded(_FOUND[key], estimated)

    def longest_plan(self) -> EpochPlan:
        """A plan of one step, of the longest sequences."""
        return self._plan_of(self._samples.longest(self.size))

    def plan(self, epoch: int) -> EpochPlan:
        """The order and the places of one epoch; the last few are kept."""
        with self._lock:
            plan = self._plans.get(epoch)
            if plan is None:
                plan = self._plans[epoch] = self._make_plan(epoch)
                if len(self._plans) > _KEPT_PLANS:
                    self._plans.popitem(last=False)
        return plan

    def _make_plan(self, epoch: int) -> EpochPlan:
        return self._plan_of(self._samples.shuffled(stream_key(self.seed, epoch, 0)), epoch)

    def _plan_of(self, some: Some, epoch: int | None = None) -> EpochPlan:
        users, counts, after = some
        packed = self._packer.pack(counts, max_len=self.max_len, size=self.size)
        begins = np.arange(0, len(users), self.size)
        is_last = self._masks_last(users, epoch)
        num_targets = self._num_targets(counts, is_last)
        positions = np.add.reduceat(num_targets, begins, dtype=np.int64)
        return EpochPlan(
            users,
            counts,
            packed.row,
            packed.column,
            is_last,
            after,
            _offsets(packed.num_rows),
            _offsets(positions),
        )

    def _search(self, epochs: int) -> tuple[StepChoice, ...]:
        """The first step of each sizes in so many epochs, with a thread per core."""
        # Every thread holds a plan: of many prefixes only as many as are held anyway.
        at_once = max(_KEPT_PLANS, _MOST_PLANNED // self.num_sequences)
        with ThreadPoolExecutor(min(available_cores(), at_once)) as pool:
            found = np.concatenate(list(pool.map(self._distinct_of, range(epochs))))
        return tuple(
            StepChoice(epoch, step, BatchShape(rows, self.max_len, sequences, positions))
            for rows, sequences, positions, epoch, step in _first_of_each(found).tolist()
        )

    def _distinct_of(self, epoch: int) -> np.ndarray:
        """Rows, sequences, positions, epoch and step of the first step of each sizes."""
        plan = self._make_plan(epoch)
        number = self.num_steps
        sequences = np.full(number, self.size)
        sequences[-1] = self.num_sequences - (number - 1) * self.size
        sizes = (np.diff(plan.row_offsets), sequences, np.diff(plan.position_offsets))
        return _first_of_each(np.stack([*sizes, np.full(number, epoch), np.arange(number)], 1))

    def _masks_last(self, users: np.ndarray, epoch: int | None) -> np.ndarray:
        """Of which users the last item alone is a target in the epoch (None: of none that need
        not), bool.
        """
        chosen = np.full(len(users), self.last_only)
        if self.mask_last_prob and epoch is not None and not self.last_only:
            key = stream_key(self.seed, epoch, _LAST)
            choose_evenly(key, users, self.mask_last_prob, chosen)
        return chosen

    def _num_targets(self, counts: np.ndarray, is_last: np.ndarray) -> np.ndarray:
        """How many targets sequences with so many inputs have, int32."""
        if self.mask_prob:
            share = np.clip(np.rint(self.mask_prob * counts), 1, counts).astype(np.int32)
            return np.where(is_last, np.int32(1), share)
        return np.ones_like(counts) if self.last_only else counts


def _check_prefixes(packer: str, train_on: str, mask_prob: float) -> None:
    if mask_prob:
        raise SpecError(
            f"the packer {packer!r} makes samples of the next item, and this model guesses items "
            "that are masked",
            'write batch.packer = "best_fit"',
        )
    if train_on == "last":
        raise SpecError(
            f"the packer {packer!r} trains on every item of a history but the first, and "
            'loss.train_on = "last" on one a user',
            'write loss.train_on = "all", or batch.packer = "best_fit"',
        )


def _first_of_each(found: np.ndarray) -> np.ndarray:
    """The first row of each that agree in the first three columns."""
    _, first = np.unique(found[:, :3], axis=0, return_index=True)
    return found[np.sort(first)]


def _offsets(sizes: np.ndarray) -> np.ndarray:
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(sizes, out=offsets[1:])
    return offsets
