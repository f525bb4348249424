"""Say what a worker is handed for one run, and how a run that tells nothing itself is recorded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar, Protocol

from scalelab.core.events import Progress
from scalelab.core.initial_row import new_row
from scalelab.core.limits import Limits
from scalelab.core.records import Memory, Metric, Outcome, Record, Stopped
from scalelab.core.spec import RunSpec

__all__ = ["Executor", "RunFunction", "Stop", "Task", "ended", "find_run", "utc_now"]


Stop = Callable[[], bool | Outcome]


@dataclass(frozen=True, kw_only=True)
class Task:
    """One attempt at one cell. `keep` is the folder of its checkpoint.

    `baselines` asks for those of its data set and protocol too: no run before has brought them.
    `gpu` is the UUID of the only GPU that its process may see, None where it sees all.
    """

    run_id: str
    study_id: str | None
    fingerprint: str
    data_fingerprint: str | None
    attempt: int
    spec: RunSpec
    limits: Limits
    keep: str | None = None
    expected_bytes: int | None = None
    gpu: str | None = None
    baselines: bool = False

    @property
    def host_bytes(self) -> int | None:
        """What its tensors may take of the host's memory; None (no limit) where a GPU holds them.

        The process of a run on a GPU holds CUDA's own host memory, which no budget speaks of.
        """
        return self.limits.memory_bytes if self.spec.device.name == "cpu" else None


class RunFunction(Protocol):
    """Runs a task where it is called. Raises for what the caller should call failed."""

    def __call__(self, task: Task, report: Callable[[Progress], None], stop: Stop) -> Record:
        """`stop` answers False, or the outcome with which the run shall end after its epoch."""
        ...


class Executor(Protocol):
    """Where tasks run. What they have to say comes to the two functions given to `open`."""

    blocking: ClassVar[bool]  # `poll` returns when a run has ended, not before
    shares_memory: ClassVar[bool]  # its runs have the devices of this machine together
    slots: int

    def open(
        self,
        run: str,
        on_progress: Callable[[Progress], None],
        on_record: Callable[[Record], None],
        on_lost: Callable[[str, str], None],
        modules: Sequence[str],
    ) -> None:
        """Get ready to run the function called `run`, after importing `modules`."""
        ...

    def submit(self, task: Task) -> None:
        """Take a task; never more than `slots` at once."""
        ...

    def poll(self, timeout_s: float) -> None:
        """Wait for news for at most so long and pass them on."""
        ...

    def stop(self, now: bool) -> None:
        """Ask the runs to stop after their epoch, or end them `now`."""
        ...

    def end(self, run_id: str, outcome: Outcome, reason: str) -> None:
        """End one run; its record says `outcome` and `reason`."""
        ...

    def close(self) -> None:
        """Leave no process behind."""
        ...


def find_run(name: str) -> RunFunction:
    """The function called `package.module:function`."""
    import importlib

    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def utc_now() -> datetime:
    """Naive UTC, as the ledger keeps it."""
    return datetime.now(UTC).replace(tzinfo=None)


def ended(
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
    """A record of a task told from outside: nothing in it was measured by the run itself."""
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
