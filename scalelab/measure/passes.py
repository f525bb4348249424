"""Measure the memory of the largest training step and of a block of evaluation.

Memory is read in passes of their own, before the training that is timed: following every storage
costs time, and the first step of all is no steady state, since Adam's state appears at its end.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import Any

import torch
from torch import Tensor

from scalelab.batches.batch import Batch
from scalelab.core.events import Observer, Stage
from scalelab.core.records import Memory
from scalelab.measure import compiled
from scalelab.measure.components import Account
from scalelab.measure.probes import missing
from scalelab.measure.probes.nvml import Nvml
from scalelab.measure.probes.torch_allocator import TorchAllocator
from scalelab.train.step import Parts
from scalelab.train.trainer import Trainer

__all__ = [
    "EPOCH",
    "account_of",
    "allocator_pass",
    "batch_tensors",
    "evaluation_pass",
    "label_parts",
    "last_known",
    "memory_rows",
    "micro_steps",
    "training_pass",
]

# Predictor and account speak of the same step: the largest of this epoch (counted from 0).
EPOCH = 0


def micro_steps(accumulate: int) -> tuple[bool, ...]:
    """Whether each step of the window updates the weights.

    With accumulated gradients the window is two steps: the second one meets the gradients of the
    first.
    """
    return (True,) if accumulate == 1 else (False, True)


def batch_tensors(batch: Batch) -> list[Tensor]:
    """All tensors of a batch, negatives included."""
    plain = [getattr(batch, f.name) for f in fields(batch) if f.name != "negatives"]
    return [*plain, *(source.ids for source in batch.negatives)]


def label_parts(account: Account, parts: Parts) -> None:
    """Label parameters, gradients, optimizer state and popularity, now and later."""
    table: Any = parts.model.item_table_VD
    account.label_training(parts.model, table, parts.optimizer)
    if parts.log_popularity_V is not None:
        account.label("other", [parts.log_popularity_V])


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
    comes first, in the order of a run: a warm-up, the epoch's largest step, a block of the test.
    On a CPU all rows are missing, with the reason.
    """
    rows = _training_by_allocator(trainer)
    # The batch of training is gone by now: evaluation has none.
    return rows + _by_allocator(trainer, Stage.EVAL, [], lambda: trainer.evaluate("test", blocks=1))


def _training_by_allocator(trainer: Trainer) -> list[Memory]:
    with _largest_step(trainer) as (batch, step):
        if trainer.parts.device.type == "cuda":
            step()
        return _by_allocator(trainer, Stage.TRAIN, batch_tensors(batch), step)


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
) -> tuple[Account, list[Memory]]:
    """The account of the epoch's largest step, after a warm-up on the same batch, and its rows.

    `watch` is handed the account before the step starts, so that a step that dies leaves its
    figures.
    """
    if trainer.spec.train.compile:
        compiled.report_allocations()
    with _largest_step(trainer) as (batch, step):
        step()
        account = account_of(trainer)
        account.label("batch", batch_tensors(batch))
        watch(account)
        with _accounted(trainer, account):
            step()
    return account, memory_rows(Stage.TRAIN, account)


def evaluation_pass(trainer: Trainer) -> tuple[Account, list[Memory]]:
    """The account of the first block of the test, optimizer state included, and its rows.

    Of the test, since its histories are an item longer than those of the validation.
    """
    account = account_of(trainer)
    with _accounted(trainer, account):
        trainer.evaluate("test", blocks=1)
    return account, memory_rows(Stage.EVAL, account)


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
def _largest_step(trainer: Trainer) -> Iterator[tuple[Batch, Callable[[], None]]]:
    """The epoch's largest batch, and its step (steps, where gradients are accumulated)."""
    number = trainer.loader.largest_step(EPOCH)
    batch = trainer.to_device(trainer.loader.batch(EPOCH, number))

    def step() -> None:
        for update in micro_steps(trainer.parts.accumulate):
            trainer.step(batch, 1, number, update)

    with trainer.randomness(EPOCH):
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
