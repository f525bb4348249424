"""Measure how long a host takes for one operation of a training step, as on a GPU it may decide."""

import time
from statistics import median

import torch

from scalelab.core.events import Observer
from scalelab.core.spec import RunSpec
from scalelab.planning.cost import Cost
from scalelab.train.assemble import assemble

__all__ = ["operation_seconds"]

# Sizes at which no operation keeps a GPU busy for as long as the host takes for the next one.
_SMALL = {
    "data.num_users": 4000,
    "data.num_items": 2000,
    "data.max_eval_users": 64,
    "batch.size": 32,
    "batch.max_len": 50,
    "train.epochs": 1,
    "train.patience": 0,
}
_WARM_UP, _WINDOW, _WINDOWS = 20, 10, 9


class _Windows(Observer):
    """Seconds of a step, in each of some windows of steps, batches included."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._at, self._steps = 0.0, 0
        self.seconds: list[float] = []

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """Waits for the device at the end of each window."""
        self._steps += 1
        if self._steps < _WARM_UP or (self._steps - _WARM_UP) % _WINDOW:
            return
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        now = time.perf_counter()
        if self._steps > _WARM_UP:
            self.seconds.append((now - self._at) / _WINDOW)
        self._at = now


def operation_seconds(device: str) -> float:
    """Median seconds of a small SASRec's training step, by the kernels that `Cost` counts in it.

    Forward, backward and update are in it, so an operation costs several times a bare launch.
    """
    settings = _SMALL | {"device.name": device, "train.max_steps": _WARM_UP + _WINDOW * _WINDOWS}
    trainer = assemble(RunSpec.load("sasrec-synthetic", settings))
    windows = _Windows(trainer.parts.device)
    with trainer.observed_by([windows]):
        trainer.fit()
    batch = trainer.to_device(trainer.loader.batch(0, 0))
    cost = Cost()
    with cost:
        trainer.step(batch, 1, 0)
    return median(windows.seconds) / sum(piece.kernels * piece.times for piece in cost.pieces)
