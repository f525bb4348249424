"""Run a training step and a block of evaluation on fake tensors and account for their memory.

Both are the functions that a real run calls (`scalelab.train.step.training_step`, `Scorer.rank`).
Fake tensors have shapes and storages of a size but no data, so that a catalog of any size costs
nothing.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab.batches.batch import Batch, BatchShape, NegativeIds
from scalelab.batches.histories import BlockShape, HistoryBatch
from scalelab.batches.moving import packing
from scalelab.batches.pretraining import NEGATIVES, PretrainingBatch
from scalelab.batches.steps import StepChoice, Steps
from scalelab.core import plugins
from scalelab.core.events import Phase
from scalelab.core.spec import NegativesSpec, RunSpec
from scalelab.core.target import kind_of_device
from scalelab.losses import Target, loss_bytes, needs_popularity, predicted_target, tile_repeats
from scalelab.measure.components import Account
from scalelab.measure.largest import shared_negatives
from scalelab.measure.passes import batch_tensors, label_parts, micro_steps
from scalelab.measure.workspaces import predicted, predicted_on_cuda
from scalelab.models.users import user_table_of
from scalelab.planning.cost import Cost
from scalelab.planning.cublas import Workspaces
from scalelab.planning.cuda import as_on_cuda
from scalelab.train.assemble import build_parts
from scalelab.train.evaluate import Evaluator
from scalelab.train.pretraining import pretraining_step
from scalelab.train.scoring import Scorer
from scalelab.train.step import Announce, Parts, training_step

__all__ = ["FakeTensorRun", "empty_batch", "empty_pretraining_batch"]

# Type and sizes of each tensor of a batch, by its name.
Layouts = dict[str, tuple[torch.dtype, tuple[int, ...]]]
# Fake storages live on this device, whatever device their tensors claim.
_FAKE = "meta"


class FakeTensorRun:
    """A run on fake tensors: `train`, then `evaluate`.

    With a `target` on CUDA it runs what CUDA would run where that differs (see
    `scalelab.planning.cuda`), and `workspaces` note when cuBLAS takes its own.
    """

    def __init__(
        self,
        spec: RunSpec,
        num_items: int,
        *,
        num_users: int = 0,
        target: Target | None = None,
        workspaces: Workspaces | None = None,
    ) -> None:
        self._spec = spec
        self._num_items, self._num_users = num_items, num_users
        self._target = target
        self._workspaces = workspaces
        self._fake = FakeTensorMode()

    def train(self, shape: BatchShape, steps_an_epoch: int, cost: Cost | None = None) -> Account:
        """The account from the making of the model to its second step, which is the window.

        That step is counted by `cost`, if there is one (the first makes the optimizer's state):
        with accumulated gradients it is all steps of one update.
        """

        def step(parts: Parts, batch: Batch, announce: Announce) -> None:
            updates = micro_steps(parts, steps_an_epoch)
            # Of a long window each step stands for several that do the same.
            before = min(parts.accumulate, steps_an_epoch) - 1
            stands_for = before // max(1, len(updates) - 1)
            for update in updates:
                repeats = tile_repeats.set(1 if update else stands_for)
                try:
                    training_step(parts, batch, announce, update=update)
                finally:
                    tile_repeats.reset(repeats)

        return self._steps(step, lambda: empty_batch(shape, self._spec.negatives), cost)

    def pretrain(self, shape: BatchShape, cost: Cost | None = None) -> Account:
        """The same of a step of pre-training."""
        return self._steps(pretraining_step, lambda: empty_pretraining_batch(shape), cost)

    def _steps(
        self,
        step: Callable[[Parts, Any, Announce], object],
        make_batch: Callable[[], Batch],
        cost: Cost | None,
    ) -> Account:
        with self._account() as account:
            self._parts = parts = self._made()
            batch = make_batch()
            label_parts(account, parts)
            account.label("batch", batch_tensors(batch))
            step(parts, batch, _announcing(account))
            account.start_window()
            with cost or nullcontext():
                step(parts, batch, _announcing(account))
        return account

    def _made(self) -> Parts:
        return fake_parts(self._spec, self._num_items, self._num_users)

    def largest_steps(self, steps: Steps) -> tuple[StepChoice, ...]:
        """The steps of the run that may need most memory on the target; none of them is run."""
        with self._fake, nullcontext() if self._target is None else as_on_cuda(self._target):
            parts = self._made()
        train = self._spec.train
        table: Any = parts.model.item_table_VD
        before = predicted_target.set(self._target)
        try:
            with parts.autocast():
                estimated = loss_bytes(
                    parts.loss,
                    table,
                    shared_negatives(self._spec.negatives),
                )
                return steps.largest_steps(train.epochs, train.max_steps, estimated)
        finally:
            predicted_target.reset(before)

    @property
    def hidden_dim(self) -> int:
        """D of the model that was trained."""
        table: Any = self._parts.model.item_table_VD
        return table.size(1)

    def evaluate(
        self, evaluator: Evaluator, block: BlockShape, cost: Cost | None = None
    ) -> Account:
        """The account of a block of evaluation by the model that was trained, counted by `cost`."""
        model = self._parts.model
        with self._fake:  # like those of numpy, they count from their first use on
            has_users = user_table_of(model) is not None
            block_of_users = _empty_histories(block, evaluator.max_len, with_users=has_users)
        with self._account() as account, torch.no_grad():
            label_parts(account, self._parts)
            account.start_window()
            with _announcing(account)(Phase.EVALUATE):
                model.eval()
                scorer = Scorer(model, evaluator, block.num_users)
                with cost or nullcontext():
                    scorer.rank(*block_of_users)
        return account

    @contextmanager
    def _account(self) -> Iterator[Account]:
        if self._target is None:
            with self._fake, Account(_FAKE, predicted) as account:
                yield account
            return

        def run(func: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, int]:
            if self._workspaces is not None:
                self._workspaces.note(func, args, account.num_events)
            return predicted_on_cuda(func, args, kwargs)

        with self._fake, Account(_FAKE, run) as account, as_on_cuda(self._target):
            yield account


def fake_parts(spec: RunSpec, num_items: int, num_users: int) -> Parts:
    """Model, loss and optimizer of a run as fake tensors, inside an active FakeTensorMode."""
    device = spec.device.model_copy(update={"name": "cpu"})
    on_cpu = spec.model_copy(update={"device": device})
    parts = build_parts(on_cpu, num_items, num_users=num_users)
    if not needs_popularity(parts.loss):
        return parts
    log_shares = tuple(
        torch.empty(num_items + 1) if exponent is None else None
        for exponent in _exponents(spec.negatives)
    )
    return replace(parts, log_popularity_V=torch.empty(num_items + 1), log_shares=log_shares)


def _exponents(sources: tuple[NegativesSpec, ...]) -> list[float | None]:
    return [plugins.load("negatives", s.name)(**s.options).exponent for s in sources]


def empty_batch(shape: BatchShape, sources: tuple[NegativesSpec, ...]) -> Batch:
    """A batch of the loader's types and sizes without contents; for CUDA it is one storage."""
    return Batch(**_empty_fields(_layouts(shape), shape, sources))


def empty_pretraining_batch(shape: BatchShape) -> PretrainingBatch:
    """The same of pre-training."""
    rows, max_len, sequences, positions = shape
    hidden = ("context_BL", "segment_BL", "other_BL")
    layouts = {
        **_layouts(shape),
        "masked_N": (torch.bool, (positions,)),
        **dict.fromkeys(hidden, (torch.int32, (rows, max_len))),
        "last_S": (torch.int64, (sequences,)),
    }
    return PretrainingBatch(**_empty_fields(layouts, shape, NEGATIVES))


def _layouts(shape: BatchShape) -> Layouts:
    rows, max_len, sequences, positions = shape
    return {
        "item_ids_BL": (torch.int32, (rows, max_len)),
        "segments_BL": (torch.int32, (rows, max_len)),
        "positions_BL": (torch.int32, (rows, max_len)),
        "valid_N": (torch.int64, (positions,)),
        "targets_N": (torch.int64, (positions,)),
        "sequence_N": (torch.int32, (positions,)),
        "users_S": (torch.int32, (sequences,)),
    }


def _empty_fields(
    layouts: Layouts, shape: BatchShape, sources: tuple[NegativesSpec, ...]
) -> dict[str, Any]:
    groups = {"position": (shape.num_positions,), "sequence": (shape.num_sequences,), "batch": ()}
    ids = [(torch.int32, (*groups[source.per], source.num_negatives)) for source in sources]
    wanted = [*layouts.values(), *ids]
    if kind_of_device("cpu") == "cuda":
        plan = packing(wanted)
        made = plan.views(torch.empty(plan.num_bytes, dtype=torch.uint8))
    else:
        made = [torch.empty(sizes, dtype=dtype) for dtype, sizes in wanted]
    drawn = zip(sources, made[len(layouts) :], _exponents(sources), strict=True)
    negatives = tuple(NegativeIds(source.per, tensor, each) for source, tensor, each in drawn)
    return {**dict(zip(layouts, made, strict=False)), "negatives": negatives}


def _empty_histories(
    block: BlockShape, max_len: int, with_users: bool
) -> tuple[HistoryBatch, Tensor, Tensor]:
    """Histories, their targets and what was seen, as `Scorer.rank` takes them."""
    rows, sequences, seen, _ = block
    histories = HistoryBatch(
        item_ids_BL=torch.empty(rows, max_len, dtype=torch.int32),
        segments_BL=torch.empty(rows, max_len, dtype=torch.int32),
        positions_BL=torch.empty(rows, max_len, dtype=torch.int32),
        last_S=torch.empty(sequences, dtype=torch.int64),
        users_S=torch.empty(0, dtype=torch.int32),
        user_rows_S=torch.empty(sequences, dtype=torch.int32) if with_users else None,
    )
    return (
        histories,
        torch.empty(sequences, dtype=torch.int64),
        torch.empty(seen, dtype=torch.int64),
    )


def _announcing(account: Account) -> Announce:
    @contextmanager
    def announce(phase: Phase) -> Iterator[None]:
        account.on_phase_start(phase)
        try:
            yield
        finally:
            account.on_phase_end(phase)

    return announce
