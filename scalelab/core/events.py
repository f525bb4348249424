"""Define what a run and a sweep announce, and the observers that listen."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from scalelab.core.figures import QUALITY_KEY
from scalelab.core.records import Record

__all__ = ["GpuMeter", "Observer", "Phase", "Planned", "Progress", "Stage", "SweepObserver"]


class Phase(StrEnum):
    """What the trainer is doing; `data` while it takes the next batch.

    `pretrain` is around the phases of the steps of a pre-training.
    """

    SETUP = "setup"
    PRETRAIN = "pretrain"
    DATA = "data"
    FORWARD = "forward"
    LOSS = "loss"
    BACKWARD = "backward"
    OPTIMIZER = "optimizer"
    EVALUATE = "evaluate"


class Stage(StrEnum):
    """The window that a peak belongs to."""

    TRAIN = "train"
    EVAL = "eval"
    PROCESS = "process"


class Observer:
    """Is called at each event of the trainer. A method does nothing until it is overridden."""

    def on_phase_start(self, phase: Phase) -> None:
        """`phase` begins."""

    def on_phase_end(self, phase: Phase) -> None:
        """`phase` is over, also when it raised."""

    def on_step_start(self, epoch: int, step: int) -> None:
        """Step `step` of `epoch` begins; its batch is on the device."""

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """The step is over; it trained on `num_positions` valid positions."""

    def on_pretraining_epoch_end(self, epoch: int, objectives: Mapping[str, float]) -> None:
        """`epoch` (from 1) of a pre-training is over: the mean of each objective."""

    def on_epoch_end(self, epoch: int, loss: float, metrics: Mapping[str, float]) -> None:
        """`epoch` (from 1) is over: its mean loss and, if evaluated, validation metrics."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One run before it starts. `label` names the settings in which it differs, shortly.

    `predicted_s` is the middle of the range `predicted_range_s`.
    """

    run_id: str
    label: str
    device: str
    predicted_bytes: int | None
    predicted_s: float | None
    finished_before: bool
    skipped_because: str | None
    predicted_range_s: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a running run stands. None where it is not known yet.

    `metric` is the validation metric that chooses the epoch, `metric_key` says which, such as
    ndcg@10; `popularity` is what the popularity list has by it.
    """

    run_id: str
    phase: str
    epoch: int
    epochs: int
    step: int
    num_steps: int
    loss: float | None
    metric: float | None
    best_metric: float | None
    popularity: float | None
    used_bytes: int | None
    tokens_per_s: float | None
    metric_key: str = QUALITY_KEY


@dataclass(frozen=True, kw_only=True)
class GpuMeter:
    """What the driver says of a GPU at this moment. None where it does not know."""

    name: str
    used_bytes: int | None
    memory_bytes: int
    busy_percent: float | None
    watts: float | None


class SweepObserver:
    """Is called at each event of a sweep. A method does nothing until it is overridden."""

    def on_plan(self, name: str, device: str, cells: Sequence[Planned]) -> None:
        """The runs of the study in their order. `device`: "" if not known."""

    def on_activity(self, text: str) -> None:
        """What the sweep does while no run is in progress, such as `predicting 10 runs`."""

    def on_run_start(self, run_id: str) -> None:
        """A run has been handed to a worker."""

    def on_progress(self, progress: Progress) -> None:
        """A running run has moved."""

    def on_run_end(self, record: Record) -> None:
        """A run is over and its record is in the ledger."""

    def on_message(self, text: str) -> None:
        """Something a person should read: one line."""

    def on_end(self) -> None:
        """The sweep is over or has been stopped; the ledger is closed."""
