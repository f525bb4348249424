"""Compute the share of its full size that a step size has in each update of a run."""

import math
from collections.abc import Sequence

from torch.optim import Optimizer

from scalelab.core.train_section import Schedule, TrainSpec

__all__ = ["num_updates", "set_rates", "share_of_rate"]


def set_rates(
    optimizers: Sequence[Optimizer], train: TrainSpec, update: int, steps_per_epoch: int
) -> None:
    """Give the encoder's optimizer, and the table's, the step sizes of `update`, from 0."""
    total = num_updates(train, steps_per_epoch)
    schedules = (train.schedule, train.table.schedule or train.schedule)
    for optimizer, schedule in zip(optimizers, schedules, strict=False):
        share = share_of_rate(schedule, update, train.warmup_updates, total)
        optimizer.param_groups[0]["lr"] = share * optimizer.defaults["lr"]


def num_updates(train: TrainSpec, steps_per_epoch: int) -> int:
    """The updates of a run of all its epochs, or of `max_steps`: one a window of `accumulate`."""
    whole, rest = train.epochs, 0
    if train.max_steps:
        whole, rest = divmod(min(train.max_steps, train.epochs * steps_per_epoch), steps_per_epoch)
    return whole * -(-steps_per_epoch // train.accumulate) + -(-rest // train.accumulate)


def share_of_rate(schedule: Schedule, update: int, warmup: int, total: int) -> float:
    """Of the update with number `update`, from 0, of `total`.

    It grows by equal steps to 1 in the update number `warmup`, then falls as `schedule` says:
    "linear" and "cosine" would reach 0 in the update after the last one.
    """
    if update < warmup:
        return (update + 1) / (warmup + 1)
    done = min(1.0, (update - warmup) / max(1, total - warmup))
    return {
        "constant": 1.0,
        "linear": 1.0 - done,
        "cosine": 0.5 * (1.0 + math.cos(math.pi * done)),
    }[schedule]
