"""Keep where a training stands and what it has found."""

import math
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Fit"]


@dataclass(kw_only=True)
class Fit:
    """Where training stands, and what it has found; a checkpoint keeps all of it but `stopped`.

    `pretraining` has each epoch of pre-training that is over, from 1, with the mean of each
    objective; all the rest speaks of the training after it. `updates` are steps of the optimizer:
    one per window of accumulated gradients. `without_better` counts validations without a better
    one, from when `patience_counts` (see `Trainer.fit`). `stopped` is epochs, steps, patience or
    request. `spent_s` and `epoch_ends` (epoch, its mean loss, seconds from the start of training)
    belong to an observer with a clock.
    """

    pretraining: list[tuple[int, dict[str, float]]] = field(default_factory=list)
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

    def facts(self) -> dict[str, Any]:
        """What a checkpoint keeps, as JSON can hold it."""
        facts = {name: value for name, value in vars(self).items() if name != "stopped"}
        if not math.isfinite(self.best_metric):
            facts["best_metric"] = None
        return facts

    def take(self, facts: dict[str, Any]) -> None:
        """Go on from what `facts` gave."""
        for name in ("history", "epoch_ends", "pretraining"):
            facts[name] = [tuple(entry) for entry in facts.get(name, [])]
        if facts["best_metric"] is None:
            facts["best_metric"] = -math.inf
        for name, value in facts.items():
            setattr(self, name, value)
