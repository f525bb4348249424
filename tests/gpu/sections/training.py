"""Train on amazon-beauty and look at the loop: seconds, kernels, waiting, quality."""

import time
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from call import Call

from scalelab.core import plugins
from scalelab.core.errors import DataError, SpecError
from scalelab.core.events import Observer, Phase
from scalelab.core.spec import RunSpec
from scalelab.train.assemble import assemble

__all__ = ["run"]

VARIANTS: dict[str, dict[str, Any]] = {
    "cross_entropy fp32": {},
    "cross_entropy bf16": {"train.precision": "bf16"},
    "sampled_softmax, 4096 for the batch": {
        "loss.name": "sampled_softmax",
        "negatives.per": "batch",
        "negatives.reject": False,
        "negatives.num_negatives": 4096,
    },
    "cross_entropy tiled": {"loss.kernel": "tiled"},
    "dense_ce": {"loss.name": "dense_ce"},
    "bce, 256 per position": {"loss.name": "bce"},
}
# Steps 0 and 50 look at the loss, which waits; these are between.
PROFILED, COUNTED = range(10, 20), range(25, 35)


class _Clock(Observer):
    """Seconds of training and of evaluation, epoch by epoch."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.training: list[float] = []
        self.evaluation: list[float] = []
        self.steps: list[int] = []
        self.metrics: dict[str, float] = {}
        self.waiting = 0.0
        self._at = time.perf_counter()
        self._steps = 0

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """Count."""
        self._steps += 1

    def on_phase_start(self, phase: Phase) -> None:
        """Training of the epoch is over once the GPU is."""
        if phase is Phase.EVALUATE:
            self.call.sync()
            self.training.append(round(time.perf_counter() - self._at, 3))
            self.steps.append(self._steps)
            self._at, self._steps = time.perf_counter(), 0

    def on_epoch_end(self, epoch: int, loss: float, metrics: Mapping[str, float]) -> None:
        """So is its evaluation."""
        self.evaluation.append(round(time.perf_counter() - self._at, 3))
        self.metrics = dict(metrics)
        self._at = time.perf_counter()


class _Profile(Observer):
    """The kernels of ten steps, of the loop as it runs."""

    def __init__(self) -> None:
        self.profiler = torch.profiler.profile(acc_events=True)
        self.at, self.wall_s = 0.0, 0.0

    def on_step_start(self, epoch: int, step: int) -> None:
        """Begin with the first of the ten."""
        if step == PROFILED.start:
            self.profiler.__enter__()
            self.at = time.perf_counter()

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """End with the last."""
        if step == PROFILED.stop - 1:
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            self.wall_s = time.perf_counter() - self.at
            self.profiler.__exit__(None, None, None)


class _Waits(Observer):
    """How often ten steps of the loop wait for the GPU."""

    def __init__(self) -> None:
        self.caught: list[warnings.WarningMessage] = []
        self._catch = warnings.catch_warnings(record=True)

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """Between the ends of two steps lies all that a step does, its batch included."""
        if step == COUNTED.start - 1:
            self.caught = self._catch.__enter__() or []
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
        if step == COUNTED.stop - 1:
            torch.cuda.set_sync_debug_mode("default")
            self._catch.__exit__(None, None, None)

    def count(self) -> float:
        """Waits in a step."""
        waits = [each for each in self.caught if "synchroniz" in str(each.message)]
        return len(waits) / len(COUNTED)


def run(call: Call) -> None:
    """Each variant: some epochs as they are, then a look inside."""
    for name, changes in VARIANTS.items():
        call.need(5)
        epochs = 3 if call.is_cuda and name == "cross_entropy fp32" else 2
        base = {"device.name": call.device, "train.patience": 0, "train.epochs": epochs}
        if not call.is_cuda:
            base |= {"train.max_steps": 3, "data.max_eval_users": 100, "train.epochs": 1}
        try:
            spec = RunSpec.load("sasrec-beauty", base | changes)
            row = {"run": name} | _look(call, spec)
        except DataError as error:
            call.check("amazon-beauty is there", False, f"{error}; use --data")
            return
        except SpecError as error:
            row = {"run": name, "skipped": str(error)}
        call.row("training", row)
        if call.is_cuda and "waits in a step" in row:
            call.check(
                f"{name}: no step waits", row["waits in a step"] == 0, row["waits in a step"]
            )


def _kernel(loss: str) -> str | None:
    """Which kernel the loss took, where it has a choice."""
    if "kernel" not in plugins.options("losses", loss):
        return None
    from scalelab.losses.kernels.choice import kernels_used

    return kernels_used.get(loss)


def _look(call: Call, spec: RunSpec) -> dict[str, Any]:
    at = time.perf_counter()
    trainer = assemble(spec)
    assembled = time.perf_counter() - at
    clock = _Clock(call)
    with trainer.observed_by([clock]):
        trainer.fit()
    found: dict[str, Any] = {
        "assembled_s": round(assembled, 2),
        "steps": clock.steps,
        "training_s": clock.training,
        "evaluation_s": clock.evaluation,
        "ms_a_step": round(1e3 * clock.training[-1] / max(1, clock.steps[-1]), 3),
        "waited_for_batches_s": round(trainer.loader.wait_s, 3),
        "kernel": _kernel(spec.loss.name),
        "ndcg@10": round(clock.metrics["ndcg@10"], 5),
    }
    if not call.is_cuda:
        return found
    few = spec.with_({"train.epochs": 1, "train.max_steps": 40, "data.max_eval_users": 64})
    trainer = assemble(few)
    profile, waits = _Profile(), _Waits()
    with trainer.observed_by([profile, waits]):
        trainer.fit()
    events = [e for e in profile.profiler.events() or [] if str(e.device_type).endswith("CUDA")]
    busy_ms = sum(event.time_range.elapsed_us() for event in events) / 1e3
    found |= {
        "kernels_a_step": len(events) / len(PROFILED),
        "gpu_busy_ms_a_step": round(busy_ms / len(PROFILED), 3),
        "busy_share": round(busy_ms / 1e3 / profile.wall_s, 3),
        "waits in a step": waits.count(),
        "waiting at": sorted({f"{w.filename}:{w.lineno}" for w in waits.caught})[:6] or None,
    }
    return found
