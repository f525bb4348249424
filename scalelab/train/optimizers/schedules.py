"""Compute the share of its full size that a step size has in each update of a run."""

import math

from scalelab.core.run_sections import Schedule, TrainSpec

__all__ = ["num_updates", "share_of_rate"]


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
