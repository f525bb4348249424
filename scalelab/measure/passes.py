"""Measure the memory of the largest training step and of the largest block of evaluation.

Which they are is known from the lengths of the histories and the seed: several where none is larger
than the others in every size. Then each is measured and the largest peak counts.

Memory is read in passes of their own, before the training that is timed: following every storage
costs time, and the first step of all differs from later ones: Adam's state appears at its end.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from scalelab.batches.batch import Batch
from scalelab.batches.pretraining import PretrainingBatch
from scalelab.batches.steps import StepChoice
from scalelab.core.events import Observer, Stage
from scalelab.core.records import Memory
from scalelab.measure import compiled
from scalelab.measure.components import Account
from scalelab.measure.largest import largest_blocks, largest_steps
from scalelab.measure.probes import missing
from scalelab.measure.probes.nvml import Nvml
from scalelab.measure.probes.torch_allocator import TorchAllocator
from scalelab.models.tables import tensors_of
from scalelab.models.users import user_table_of
from scalelab.train.evaluate import BlockChoice
from scalelab.train.step import Parts
from scalelab.train.trainer import Trainer

__all__ = [
    "account_of",
    "allocator_pass",
    "batch_tensors",
    "evaluation_pass",
    "label_parts",
    "last_known",
    "memory_rows",
    "micro_steps",
    "step_of",
    "training_pass",
]


# What a model has of item attributes, see `scalelab.models`.
_ATTRIBUTES = ("attribute_table_AD", "item_attributes_VM")


def micro_steps(parts: Parts, steps_an_epoch: int) -> tuple[bool, ...]:
    """Whether each step of the window updates the weights.

    With accumulated gradients the window is two steps: the second one meets the gradients of the
    first. A streamed update keeps what each step knows of the table's gradient: there the window is
    all steps of an update, which ends with the epoch at the latest.
    """
    count = min(parts.accumulate, steps_an_epoch)
    if parts.table is None or not parts.table.streamed:
        count = min(count, 2)
    return (*(False,) * (count - 1), True)


def batch_tensors(batch: Batch) -> list[Tensor]:
    """All tensors of a batch, negatives included."""
    plain = [getattr(batch, f.name) for f in fields(batch) if f.name != "negatives"]
    return [*plain, *(source.ids for source in batch.negatives)]


def label_parts(account: Account, parts: Parts) -> None:
    """Label parameters, gradients, optimizer state and popularity, now and later."""
    table: Any = parts.model.item_table_VD
    account.label_training(
        parts.model, tensors_of(table), *parts.optimizers, user_table=user_table_of(parts.model)
    )
    known = (parts.log_popularity_V, *parts.log_shares)
    account.label("other", [each for each in known if each is not None])
    attributes = (getattr(parts.model, name, None) for name in _ATTRIBUTES)
    account.label("attribute_table", [each for each in attributes if each is not None])


def account_of(trainer: Trainer) -> Account:
    """An account to which everything that exists between two steps is already labelled."""
    parts = trainer.parts
    account = Account(parts.device.type)
    label_parts(account, parts)
    return account


def allocator_pass(trainer: Trainer) -> list[Memory]:
    """What CUDA's caching allocator and the driver count, of training and of evaluation.

    Nobody looks on: an active account makes autograd add gradients out of place; it knows that and
    corrects itself, the allocator would count the copies, and keep them in its cache. So this pass
    comes first, in the order of a run: a warm-up, the largest step, the largest block.
    On a CPU all rows are missing, with the reason.
    """
    # The batch of training is gone by now: evaluation has none.
    return _training_by_allocator(trainer) + _evaluation_by_allocator(trainer)


def _training_by_allocator(trainer: Trainer) -> list[Memory]:
    found = []
    for choice in largest_steps(trainer):
        with step_of(trainer, choice) as (batch, step):
            if trainer.parts.device.type == "cuda":
                step()
            found.append(_by_allocator(trainer, Stage.TRAIN, batch_tensors(batch), step))
    return _largest(found)


def _evaluation_by_allocator(trainer: Trainer) -> list[Memory]:
    return _largest(
        [
            _by_allocator(trainer, Stage.EVAL, [], partial(trainer.evaluate, split, block=number))
            for split, number, _ in largest_blocks(trainer)
        ]
    )


def _largest(passes: Sequence[list[Memory]]) -> list[Memory]:
    """Of passes one after the other the rows of that which allocated most; what is reserved stays
    so, hence the last pass counts that of all.
    """

    def allocated(rows: list[Memory]) -> int:
        return max((row.bytes or 0 for row in rows if row.kind == "allocated"), default=0)

    kept = {row.kind: row for row in passes[-1] if row.kind in ("reserved", "device_used")}
    return [kept.get(row.kind, row) for row in max(passes, key=allocated)]


def _by_allocator(
    trainer: Trainer, stage: Stage, inputs: Sequence[Tensor], work: Callable[[], object]
) -> list[Memory]:
    device = trainer.parts.device
    allocator = TorchAllocator()
    allocator.open(device, lambda: 0.0)
    # What the account will find labelled is all that the run's own tensors hold.
    account = account_of(trainer)
    account.label("batch", inputs)
    allocator.begin(stage, tensor_bytes=account.peak_bytes)
    if device.type == "cuda":
        work()
    allocator.end(stage)
    return allocator.memory() + _device_used(device, stage)


def training_pass(
    trainer: Trainer, watch: Callable[[Account], None] = lambda account: None
) -> tuple[Account, StepChoice]:
    """The account of the run's largest step, after a warm-up on the same batch, and which it is.

    `watch` is handed the account before the step starts, so that a step that fails leaves its
    figures.
    """
    if trainer.spec.train.compile:
        compiled.report_allocations()
    found = []
    for choice in largest_steps(trainer):
        with step_of(trainer, choice) as (batch, step):
            step()
            account = account_of(trainer)
            account.label("batch", batch_tensors(batch))
            watch(account)
            with _accounted(trainer, account):
                step()
        found.append((account, choice))
    account, choice = max(found, key=lambda pair: pair[0].peak_bytes)
    watch(account)
    return account, choice


def evaluation_pass(trainer: Trainer) -> tuple[Account, BlockChoice]:
    """The account of the largest block, optimizer state included, and which block it is."""
    found = []
    for choice in largest_blocks(trainer):
        account = account_of(trainer)
        with _accounted(trainer, account):
            trainer.evaluate(choice.split, block=choice.number)
        found.append((account, choice))
    return max(found, key=lambda pair: pair[0].peak_bytes)


def last_known(device: str, account: Account | None, known: Sequence[Memory]) -> list[Memory]:
    """Rows of a training that ran out of memory: its account so far, or CUDA's own peaks."""
    measured = {(row.stage, row.kind) for row in known if row.bytes is not None}
    if (Stage.TRAIN, "requested") in measured:
        return []
    if account is not None:
        return memory_rows(Stage.TRAIN, account)
    allocator = TorchAllocator()
    allocator.open(torch.device(device), lambda: 0.0)
    if device == "cpu" or (Stage.TRAIN, "allocated") in measured:
        return []
    allocator.end(Stage.TRAIN)
    return allocator.memory()


@contextmanager
def step_of(trainer: Trainer, choice: StepChoice) -> Iterator[tuple[Batch, Callable[[], None]]]:
    """The batch, and its step (steps, where gradients are accumulated).

    Where a run is pre-trained, optimizers begin anew: they keep nothing from there to the training.
    """
    epoch, pretraining = choice.epoch or 0, trainer.pretraining
    if pretraining is not None:
        trainer.forget_updates()
    loader = pretraining.loader if choice.is_pretraining and pretraining else trainer.loader
    batch = trainer.to_device(loader.batch_of(choice))

    def step() -> None:
        if isinstance(batch, PretrainingBatch):
            trainer.pretraining_step(batch, epoch + 1, choice.step)
            return
        for update in micro_steps(trainer.parts, trainer.loader.num_steps):
            trainer.step(batch, epoch + 1, choice.step, update=update)

    with trainer.randomness(-1 - epoch if choice.is_pretraining else epoch):
        yield batch, step


def _device_used(device: torch.device, stage: Stage) -> list[Memory]:
    """What the driver counts after a pass: what is reserved stays so, hence this is its peak."""
    if device.type != "cuda":
        return [missing(stage, "device_used", "the run uses no GPU")]
    probe = Nvml()
    probe.open(device, lambda: 0.0)
    probe.close()
    return [replace(row, stage=stage) for row in probe.memory()]


@contextmanager
def _accounted(trainer: Trainer, account: Account) -> Iterator[None]:
    observers: list[Observer] = [account]
    with trainer.observed_by(observers), account:
        yield
    if trainer.parts.device.type == "cuda":
        torch.cuda.synchronize(trainer.parts.device)


def memory_rows(stage: Stage, account: Account, source: str = "measured") -> list[Memory]:
    """`requested` bytes by component, and their total, which they add up to."""
    if account.peak_bytes == 0:
        return [missing(stage, "requested", "nothing was allocated")]
    figures = {k: v for k, v in account.peak_components().items() if v}
    figures["total"] = account.peak_bytes
    return [
        Memory(
            stage=stage, kind="requested", component=name, bytes=value, reason=None, source=source
        )
        for name, value in figures.items()
    ]
