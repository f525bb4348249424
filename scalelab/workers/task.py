"""Define the task of a worker, what an executor does, and records made outside of a run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar, Protocol

from scalelab.core.errors import ScalelabError
from scalelab.core.events import Progress
from scalelab.core.initial_row import new_row
from scalelab.core.limits import Limits
from scalelab.core.records import Memory, Metric, Outcome, Record, Stopped
from scalelab.core.spec import RunSpec

__all__ = [
    "Executor",
    "ExecutorDied",
    "RunFunction",
    "Stop",
    "Task",
    "find_run",
    "task_record",
    "utc_now",
]


Stop = Callable[[], bool | Outcome]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One attempt at one configuration. `checkpoint_dir` is the folder of its checkpoint.

    `baselines` requests those of its data set and protocol too: no run before has brought them.
    `gpu` is the UUID of the only GPU that its process can use, None where it can use all.
    """

    run_id: str
    study_id: str | None
    fingerprint: str
    data_fingerprint: str | None
    attempt: int
    spec: RunSpec
    limits: Limits
    checkpoint_dir: str | None = None
    expected_bytes: int | None = None
    gpu: str | None = None
    baselines: bool = False

    @property
    def host_bytes(self) -> int | None:
        """How many bytes its tensors may take of the host's memory; None (no limit) for a GPU.

        The process of a run on a GPU holds CUDA's own host memory, which no budget includes.
        """
        return self.limits.memory_bytes if self.spec.device.name == "cpu" else None


class ExecutorDied(ScalelabError):
    """What the runs of an executor depend on has ended, and cannot be started again."""


class RunFunction(Protocol):
    """Runs a task in the calling process. What it raises makes the run failed."""

    def __call__(self, task: Task, report: Callable[[Progress], None], stop: Stop) -> Record:
        """`stop` returns False, or the outcome with which the run has to end after its epoch."""
        ...


class Executor(Protocol):
    """Runs tasks. Progress and records go to the functions given to `open`."""

    blocking: ClassVar[bool]  # `poll` returns only when a run has ended
    shares_memory: ClassVar[bool]  # its runs share the devices of this machine
    slots: int

    def open(
        self,
        *,
        run: str,
        on_progress: Callable[[Progress], None],
        on_record: Callable[[Record], None],
        on_lost: Callable[[str, str, Sequence[Memory]], None],
        modules: Sequence[str],
    ) -> None:
        """Get ready to run the function called `run`, after importing `modules`.

        `on_lost` is given the id of a run whose process or node was lost, why, and the memory
        that it is known to have taken. The run can be submitted again.
        """
        ...

    def submit(self, task: Task) -> None:
        """Take a task; never more than `slots` at once. Raises ExecutorDied."""
        ...

    def poll(self, timeout_s: float) -> None:
        """Wait at most `timeout_s` for messages and handle them. Raises ExecutorDied."""
        ...

    def stop(self, now: bool) -> None:
        """Ask all runs to stop after their epoch, or end them `now`."""
        ...

    def end(self, run_id: str, outcome: Outcome, reason: str) -> None:
        """End one run; its record says `outcome` and `reason`."""
        ...

    def close(self) -> None:
        """End every process that was started."""
        ...


def find_run(name: str) -> RunFunction:
    """The function called `package.module:function`."""
    import importlib

    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def utc_now() -> datetime:
    """Naive UTC, as the ledger keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


def task_record(
    task: Task,
    outcome: Outcome,
    *,
    phase: str | None = None,
    error: str | None = None,
    started_at: datetime | None = None,
    metrics: Sequence[Metric] = (),
    memory: Sequence[Memory] = (),
    epochs: int | None = None,
) -> Record:
    """A record of a task made outside of the run, from what is known of it there."""
    now = utc_now()
    row = new_row(task.spec, run_id=task.run_id, study_id=task.study_id, attempt=task.attempt)
    run = replace(
        row,
        fingerprint=task.fingerprint,
        data_fingerprint=task.data_fingerprint,
        outcome=outcome,
        phase=phase,
        error=error,
        started_at=started_at or now,
        wall_s=None if started_at is None else (now - started_at).total_seconds(),
        epochs=epochs,
        stopped=Stopped.TIME if outcome is Outcome.TIMEOUT else None,
    )
    return Record(run=run, metrics=tuple(metrics), memory=tuple(memory))
