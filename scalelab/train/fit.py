"""Keep where a training stands and what it has found."""

import math
from dataclasses import dataclass, field

__all__ = ["Fit"]


@dataclass(kw_only=True)
class Fit:
    """Where training stands, and what it has found; a checkpoint keeps all of it but `stopped`.

    `updates` are steps of the optimizer: one per window of accumulated gradients. `without_better`
    counts validations without a better one, from when `patience_counts` (see `Trainer.fit`).
    `stopped` is epochs, steps, patience or request. `spent_s` and `epoch_ends` (epoch, its mean
    loss, seconds from the start of training) belong to an observer with a clock.
    """

    epoch: int = 0
    steps: int = 0
    updates: int = 0
    best_epoch: int | None = None
    best_metric: float = -math.inf
    patience_counts: bool = False
    without_better: int = 0
    stopped: str | None = None
    history: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    spent_s: dict[str, float] = field(default_factory=dict)
    epoch_ends: list[tuple[int, float, float]] = field(default_factory=list)
