"""Observe a training for its session: phase, seconds, progress, time limit and stop requests."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import torch

from scalelab.batches.steps import StepChoice
from scalelab.core.events import Observer, Phase, Progress
from scalelab.core.records import Metric, Outcome, Run
from scalelab.measure.components import Account
from scalelab.measure.passes import step_of
from scalelab.train.trainer import Fit, Trainer

__all__ = [
    "Clock",
    "PhaseWatch",
    "PositionCounter",
    "Reporter",
    "Stop",
    "StopRequest",
    "TimeGuard",
    "TimeLimitReached",
    "every",
    "metric_rows",
    "oracle_rows",
    "write_trace",
]

Stop = Callable[[], bool | Outcome]

_REPORT_EVERY_S = 0.2


class SessionState(Protocol):
    """The part of a session's state that listeners read and write."""

    row: Run
    phase: Phase
    account: Account | None


class TimeLimitReached(Exception):
    """The run has reached its time limit."""


class PhaseWatch(Observer):
    """Keeps the phase that started last: where a run that fails has failed."""

    def __init__(self, state: SessionState) -> None:
        self.state = state

    def on_phase_start(self, phase: Phase) -> None:
        """Keep it."""
        self.state.phase = phase


class Clock(Observer):
    """Seconds spent in evaluation, those that checkpoints carry over to a later process, and when
    each epoch ended, with its loss.
    """

    def __init__(self, fit: Fit) -> None:
        self.evaluate_s = 0.0
        self._fit = fit
        self._before: dict[str, float] | None = None
        self._begun = self._since = time.perf_counter()

    def before(self, name: str) -> float:
        """Seconds of `train` or `evaluate` up to the checkpoint that training went on from."""
        return (self._before or {}).get(name, 0.0)

    def on_step_start(self, epoch: int, step: int) -> None:
        """By the first step a checkpoint has been read."""
        if self._before is None:
            self._before = dict(self._fit.spent_s)

    def on_epoch_end(self, epoch: int, loss: float, metrics: Mapping[str, float]) -> None:
        """Keep the seconds that a checkpoint of this epoch has to store."""
        self._fit.spent_s = self._spent()
        self._fit.epoch_ends.append((epoch, loss, sum(self._fit.spent_s.values())))

    def on_pretraining_epoch_end(self, epoch: int, objectives: Mapping[str, float]) -> None:
        """Keep the seconds that a checkpoint of this epoch has to store."""
        self._fit.spent_s = self._spent()

    def on_phase_start(self, phase: Phase) -> None:
        """Evaluation starts."""
        if phase is Phase.EVALUATE:
            self._since = time.perf_counter()

    def on_phase_end(self, phase: Phase) -> None:
        """Evaluation ends."""
        if phase is Phase.EVALUATE:
            self.evaluate_s += time.perf_counter() - self._since

    def _spent(self) -> dict[str, float]:
        here_s = time.perf_counter() - self._begun - self.evaluate_s
        return {
            "train": self.before("train") + here_s,
            "evaluate": self.before("evaluate") + self.evaluate_s,
        }


class PositionCounter(Observer):
    """Counts the positions that training has seen, which rates are made of."""

    positions = 0

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """One step more."""
        self.positions += num_positions


class TimeGuard(Observer):
    """Raises TimeLimitReached after the first step that ends beyond the time limit."""

    def __init__(self, limit_s: float | None, now: Callable[[], float]) -> None:
        self.limit_s = limit_s
        self.now = now

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """Compare the time with the limit."""
        if self.limit_s is not None and self.now() > self.limit_s:
            raise TimeLimitReached(
                f"stopped after {self.now():.0f} s; the limit was {self.limit_s:.0f} s"
            )


class StopRequest:
    """Adapts `stop` to the trainer's yes or no, and keeps the outcome that it requested."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.outcome = Outcome.INTERRUPTED

    def __call__(self) -> bool:
        answer = self.stop()
        if isinstance(answer, Outcome):
            self.outcome = answer
        return bool(answer)


class Reporter(Observer):
    """Turns announcements into Progress, a few times a second."""

    def __init__(
        self, trainer: Trainer, state: SessionState, report: Callable[[Progress], None]
    ) -> None:
        self.report = report
        self.run_id = state.row.run_id
        self._epochs = trainer.spec.train.epochs
        self._pretraining_epochs = trainer.pretraining.num_epochs if trainer.pretraining else 0
        self.is_pretraining = False
        self._num_steps = trainer.loader.num_steps
        self._pretraining_steps = trainer.pretraining.loader.num_steps if trainer.pretraining else 0
        self.popularity = trainer.popularity
        self.used_bytes = state.account.peak_bytes if state.account is not None else None
        self.loss: float | None = None
        self.metric_key = trainer.spec.evaluate.metric
        self.metric: float | None = None
        self.best: float | None = None
        self.phase = Phase.SETUP
        self.epoch = 0
        self.step = 0
        self.positions = 0
        self.rate: float | None = None
        self._begun = self._last = time.perf_counter()

    def on_phase_start(self, phase: Phase) -> None:
        """Report where evaluation starts and where training goes on."""
        changed = (phase is Phase.EVALUATE) != (self.phase is Phase.EVALUATE)
        self.phase = phase
        self.is_pretraining |= phase is Phase.PRETRAIN
        if changed:
            self._send()

    def on_phase_end(self, phase: Phase) -> None:
        """An epoch of pre-training is over."""
        if phase is Phase.PRETRAIN:
            self.is_pretraining = False
            self.positions, self._begun = 0, time.perf_counter()

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """Report if the last report is old enough."""
        self.epoch, self.step = epoch, step + 1
        self.positions += num_positions
        now = time.perf_counter()
        if now - self._last >= _REPORT_EVERY_S:
            self.rate = self.positions / (now - self._begun)
            self._send()

    def on_epoch_end(self, epoch: int, loss: float, metrics: Mapping[str, float]) -> None:
        """Loss and metric of the epoch."""
        self.loss = loss
        if self.metric_key in metrics:
            self.metric = metrics[self.metric_key]
            self.best = max(self.metric, self.best if self.best is not None else self.metric)
        self.epoch = epoch
        self._send()
        self.positions, self._begun = 0, time.perf_counter()

    def _send(self) -> None:
        self._last = time.perf_counter()
        self.report(
            Progress(
                run_id=self.run_id,
                phase=self._word(),
                epoch=self.epoch,
                epochs=self._pretraining_epochs if self.is_pretraining else self._epochs,
                step=self.step,
                num_steps=self._pretraining_steps if self.is_pretraining else self._num_steps,
                loss=self.loss,
                metric=self.metric,
                metric_key=self.metric_key,
                best_metric=self.best,
                popularity=self.popularity,
                used_bytes=self.used_bytes,
                tokens_per_s=self.rate,
            )
        )

    def _word(self) -> str:
        if self.is_pretraining:
            return "pretrain"
        return "evaluate" if self.phase is Phase.EVALUATE else "train"


def every(seconds: float) -> Callable[[], bool]:
    """A function that returns True at most once in so many seconds."""
    last = time.monotonic()

    def due() -> bool:
        nonlocal last
        if time.monotonic() - last < seconds:
            return False
        last = time.monotonic()
        return True

    return due


def metric_rows(split: str, epoch: int, metrics: Mapping[str, float]) -> list[Metric]:
    """`ndcg@10` and the like as rows; a name without `@` has no k."""
    rows: list[Metric] = []
    for key, value in metrics.items():
        name, _, k = key.partition("@")
        rows.append(
            Metric(split=split, epoch=epoch, name=name, k=int(k) if k else None, value=float(value))
        )
    return rows


def oracle_rows(trainer: Trainer, epoch: int) -> list[Metric]:
    """The metrics of the true probabilities, where the data set knows them: no model can expect
    more. They are named `oracle_ndcg` and so on, for each length of a list.
    """
    oracle = trainer.data.split.oracle_metrics(trainer.spec.evaluate.ks)
    return metric_rows("test", epoch, {f"oracle_{key}": value for key, value in oracle.items()})


def _recording() -> torch.profiler.profile:
    # Without acc_events torch 2.11 warns that events are cleared, though there is one cycle only.
    return torch.profiler.profile(profile_memory=True, record_shapes=True, acc_events=True)


def write_trace(trainer: Trainer, folder: Path, choice: StepChoice) -> None:
    """One more step under `torch.profiler`: `trace.json`, which Perfetto opens."""
    folder.mkdir(parents=True, exist_ok=True)
    with step_of(trainer, choice) as (_, step), _recording() as profiler:
        step()
    profiler.export_chrome_trace(str(folder / "trace.json"))
