"""Run tasks one after another in the current process."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import ClassVar

from scalelab.core.events import Progress
from scalelab.core.records import Memory, Outcome, Record
from scalelab.workers.executors._options import Threads, Workers
from scalelab.workers.task import Task, find_run
from scalelab.workers.worker import guarded

__all__ = ["Inline"]


class Inline:
    """No isolation and no limits: a crash of the run is a crash of the sweep."""

    blocking: ClassVar[bool] = True
    shares_memory: ClassVar[bool] = True

    def __init__(self, *, workers: Workers = 1, threads: Threads = 0) -> None:
        self.slots = 1
        self._tasks: deque[Task] = deque()
        self._stopping = False
        self._end_reason: tuple[Outcome, str] | None = None

    def open(
        self,
        *,
        run: str,
        on_progress: Callable[[Progress], None],
        on_record: Callable[[Record], None],
        on_lost: Callable[[str, str, Sequence[Memory]], None],
        modules: Sequence[str],
    ) -> None:
        """Import the run function."""
        self._run = find_run(run)
        self._on_progress, self._on_record = on_progress, on_record

    def submit(self, task: Task) -> None:
        """Keep the task for `poll`."""
        self._tasks.append(task)

    def poll(self, timeout_s: float) -> None:
        """Run what was submitted, however long it takes."""
        while self._tasks:
            task = self._tasks.popleft()
            self._end_reason = None
            record = guarded(self._run, task, self._on_progress, self._must_stop)
            self._on_record(self._with_our_reason(record))

    def _with_our_reason(self, record: Record) -> Record:
        if self._end_reason is None or record.run.outcome is not self._end_reason[0]:
            return record
        return replace(record, run=replace(record.run, error=self._end_reason[1]))

    def _must_stop(self) -> bool | Outcome:
        if self._end_reason is not None:
            return self._end_reason[0]
        return Outcome.INTERRUPTED if self._stopping else False

    def stop(self, now: bool) -> None:
        """The run ends after this epoch; there is no way to end it sooner from inside."""
        self._stopping = True
        if now:
            raise KeyboardInterrupt

    def end(self, run_id: str, outcome: Outcome, reason: str) -> None:
        """The run ends after this epoch."""
        self._end_reason = outcome, reason

    def close(self) -> None:
        """Nothing was started."""
