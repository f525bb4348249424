"""Watch one forked process and turn whatever becomes of it into one record."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection

from scalelab.core.events import Progress
from scalelab.core.records import Memory, Outcome, Record
from scalelab.core.units import format_bytes, format_seconds
from scalelab.workers.fork_server import Exit
from scalelab.workers.last_progress import Partial
from scalelab.workers.oom_kills import OomKills
from scalelab.workers.process_memory import anonymous_bytes
from scalelab.workers.task import Task, ended, utc_now
from scalelab.workers.worker import ALLOWANCE

__all__ = ["Child"]

# Between a polite request to end and the end.
_GRACE_S = 2.0


class Child:
    """One run in a process of its own, watched from outside.

    `kills` are shared by those that run side by side.
    """

    def __init__(
        self,
        task: Task,
        pid: int,
        connection: Connection,
        on_progress: Callable[[Progress], None],
        kills: OomKills | None = None,
    ) -> None:
        self.task = task
        self.pid = pid
        self.connection = connection
        self._on_progress = on_progress
        self._started_at = utc_now()
        self._started_s = time.monotonic()
        self._baseline: int | None = None
        self._partial = Partial()
        self._record: Record | None = None
        self._verdict: tuple[Outcome, str] | None = None
        self._kill_at_s: float | None = None
        self._kills = OomKills() if kills is None else kills
        self._kills_before = self._kills.unexplained()
        self.deaf = False
        try:
            connection.send(task)
        except OSError:
            self.deaf = True  # it died before it had its task; its exit status says how

    def hear(self) -> bool:
        """Take in what it has said; False once there is nothing more to come."""
        try:
            while not self.deaf and self.connection.poll():
                kind, content = self.connection.recv()
                if kind == "started":
                    self._baseline = content
                elif kind == "record":
                    self._record = content
                else:
                    self._note(content)
        except (EOFError, OSError):
            self.deaf = True
        return not self.deaf

    def watch(self) -> None:
        """End it where it is over a limit, or has outlived a request to end."""
        now_s = time.monotonic()
        limits = self.task.limits
        if self._kill_at_s is not None:
            if now_s >= self._kill_at_s:
                self._signal(signal.SIGKILL)
            return
        host_bytes = self.task.host_bytes
        if host_bytes is not None and self._baseline is not None:
            used = anonymous_bytes(self.pid) - self._baseline
            if used > host_bytes + ALLOWANCE:
                most, extra = format_bytes(host_bytes), format_bytes(ALLOWANCE)
                reason = (
                    f"its process took {format_bytes(used)}, over the budget of {most} + {extra}"
                )
                self.end(Outcome.OOM, reason, now=True)
                return
        if limits.time_s is not None and now_s - self._started_s > limits.time_s:
            self.end(Outcome.TIMEOUT, f"ran longer than {format_seconds(limits.time_s)}")

    def ask_to_stop(self) -> None:
        """It shall end after this epoch."""
        self._tell(Outcome.INTERRUPTED)

    def end(self, outcome: Outcome, reason: str, now: bool = False) -> None:
        """It shall end for `reason`: at once, or after a moment in which it may answer."""
        if self._verdict is None:
            self._verdict = outcome, reason
        if now:
            self._signal(signal.SIGKILL)
        else:
            self._tell(outcome)
        self._kill_at_s = time.monotonic() + (0 if now else _GRACE_S)

    def finish(self, left: Exit) -> Record:
        """The record of a process that is gone."""
        self.hear()
        self.connection.close()
        if self._record is not None:
            return self._completed(self._record)
        outcome, error = self._verdict or self._reading(left)
        peak = Memory(
            stage="process",
            kind="host_rss",
            component="total",
            bytes=left.peak_bytes,
            reason=None,
            source="measured",
        )
        return ended(
            self.task,
            outcome,
            phase=self._partial.phase,
            error=error,
            started_at=self._started_at,
            metrics=self._partial.metrics,
            memory=(peak,),
            epochs=self._partial.epochs,
        )

    def _reading(self, left: Exit) -> tuple[Outcome, str]:
        """What its exit status says of a process that nobody here has ended."""
        if left.signal == signal.SIGKILL:
            if self._kills.explains(self._kills_before):
                return Outcome.OOM, "killed by signal 9 (SIGKILL): the host ran out of memory"
            reason = "killed by signal 9 (SIGKILL) from outside, and not for want of memory"
            return Outcome.INTERRUPTED, f"{reason}; the next sweep runs it again"
        if left.signal is not None:
            name = signal.Signals(left.signal).name if left.signal in set(signal.Signals) else "?"
            return Outcome.FAILED, f"crashed with signal {left.signal} ({name})"
        return Outcome.FAILED, f"its process left with exit code {left.code} and no result"

    def _completed(self, record: Record) -> Record:
        """What the run said itself; where it stopped because it was told to, the reason is ours."""
        run = record.run
        if self._verdict is not None and run.outcome in (self._verdict[0], Outcome.INTERRUPTED):
            outcome, error = self._verdict
            run = replace(run, outcome=outcome, error=error)
        metrics = record.metrics
        if not metrics and run.outcome is not Outcome.DONE:
            metrics = self._partial.metrics
        return replace(record, run=run, metrics=metrics)

    def _note(self, progress: Progress) -> None:
        on_host = self.task.spec.device.name == "cpu"  # of a GPU's memory the run itself tells
        if progress.used_bytes is None and on_host and self._baseline is not None:
            used = max(anonymous_bytes(self.pid) - self._baseline, 0)
            progress = replace(progress, used_bytes=used)
        self._partial.note(progress)
        self._on_progress(progress)

    def _tell(self, outcome: Outcome) -> None:
        try:
            self.connection.send(outcome)
        except OSError:
            self.deaf = True  # it is gone already; its exit status says how

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return  # it has ended by itself meanwhile
