"""Supervise one forked process, enforce its limits and make one record of its result."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection

from scalelab.core.events import Progress
from scalelab.core.limits import process_limit
from scalelab.core.records import Memory, Outcome, Record
from scalelab.core.units import format_bytes, format_seconds
from scalelab.workers.fork_server import ExitStatus
from scalelab.workers.last_progress import LastProgress
from scalelab.workers.oom_kills import OomKills
from scalelab.workers.process_memory import anonymous_bytes
from scalelab.workers.task import Task, task_record, utc_now

__all__ = ["Child"]

# Between a request to stop and SIGKILL.
_GRACE_S = 2.0


class Child:
    """One run in a process of its own, supervised from outside.

    `kills` is shared by the children of one executor.
    """

    def __init__(
        self,
        task: Task,
        pid: int,
        connection: Connection,
        *,
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
        self._last_progress = LastProgress()
        self._record: Record | None = None
        self._end_reason: tuple[Outcome, str] | None = None
        self._kill_at_s: float | None = None
        self._kills = OomKills() if kills is None else kills
        self._kills_before = self._kills.unexplained()
        self.disconnected = False
        try:
            connection.send(task)
        except OSError:
            self.disconnected = True  # it ended before it had its task: the exit status says how

    def drain_messages(self) -> bool:
        """Handle the messages that have arrived; False once its end of the pipe is closed."""
        try:
            while not self.disconnected and self.connection.poll():
                kind, content = self.connection.recv()
                if kind == "started":
                    self._baseline = content
                elif kind == "record":
                    self._record = content
                else:
                    self._handle_progress(content)
        except (EOFError, OSError):
            self.disconnected = True
        return not self.disconnected

    def enforce_limits(self) -> None:
        """End the run where it is over a limit, or still runs after a request to stop."""
        now_s = time.monotonic()
        limits = self.task.limits
        if self._kill_at_s is not None:
            if now_s >= self._kill_at_s:
                self._signal(signal.SIGKILL)
            return
        host_bytes = self.task.host_bytes
        if host_bytes is not None and self._baseline is not None:
            used = anonymous_bytes(self.pid) - self._baseline
            if used > (limit := process_limit(host_bytes)):
                most, extra = format_bytes(host_bytes), format_bytes(limit - host_bytes)
                reason = (
                    f"its process used {format_bytes(used)}, over the budget of {most} + {extra}"
                )
                self.end(Outcome.OOM, reason, now=True)
                return
        if limits.time_s is not None and now_s - self._started_s > limits.time_s:
            self.end(Outcome.TIMEOUT, f"ran longer than {format_seconds(limits.time_s)}")

    def request_stop(self) -> None:
        """Ask the run to end after this epoch."""
        self._send(Outcome.INTERRUPTED)

    def end(self, outcome: Outcome, reason: str, now: bool = False) -> None:
        """End the run for `reason`: `now`, or after a few seconds in which it can stop."""
        if self._end_reason is None:
            self._end_reason = outcome, reason
        if now:
            self._signal(signal.SIGKILL)
        else:
            self._send(outcome)
        self._kill_at_s = time.monotonic() + (0 if now else _GRACE_S)

    def finish(self, status: ExitStatus) -> Record:
        """The record of a process that has ended."""
        self.drain_messages()
        self.connection.close()
        if self._record is not None:
            return self._with_our_reason(self._record)
        outcome, error = self._end_reason or self._explain(status)
        peak = Memory(
            stage="process",
            kind="host_rss",
            component="total",
            bytes=status.peak_bytes,
            reason=None,
            source="measured",
        )
        return task_record(
            self.task,
            outcome,
            phase=self._last_progress.phase,
            error=error,
            started_at=self._started_at,
            metrics=self._last_progress.metrics,
            memory=(*self.known_memory, peak),
            epochs=self._last_progress.epochs,
        )

    def abandon(self) -> Record | None:
        """End what is left of a run that ended with the fork server; its record if it was done."""
        self.drain_messages()
        self.connection.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        return None if self._record is None else self._with_our_reason(self._record)

    @property
    def known_memory(self) -> tuple[Memory, ...]:
        """The memory that the run had measured and reported."""
        return self._last_progress.memory

    def _explain(self, status: ExitStatus) -> tuple[Outcome, str]:
        """Outcome and reason of a process that ended without a record and not by us."""
        if status.signal == signal.SIGKILL:
            if self._kills.explains(self._kills_before):
                return Outcome.OOM, "killed by signal 9 (SIGKILL): the host ran out of memory"
            reason = "killed by signal 9 (SIGKILL) from outside; the host had memory left"
            return Outcome.INTERRUPTED, f"{reason}; the next sweep runs it again"
        if status.signal is not None:
            name = (
                signal.Signals(status.signal).name if status.signal in set(signal.Signals) else "?"
            )
            return Outcome.FAILED, f"crashed with signal {status.signal} ({name})"
        return Outcome.FAILED, f"its process ended with exit code {status.code} and no result"

    def _with_our_reason(self, record: Record) -> Record:
        """The record that the run made; where we stopped it, with our outcome and reason."""
        run = record.run
        if self._end_reason is not None and run.outcome in (
            self._end_reason[0],
            Outcome.INTERRUPTED,
        ):
            outcome, error = self._end_reason
            run = replace(run, outcome=outcome, error=error)
        metrics = record.metrics
        if not metrics and run.outcome is not Outcome.DONE:
            metrics = self._last_progress.metrics
        return replace(record, run=run, metrics=metrics)

    def _handle_progress(self, progress: Progress) -> None:
        self._last_progress.update(progress)
        on_host = self.task.spec.device.name == "cpu"  # a run on a GPU reports its memory itself
        if progress.used_bytes is None and on_host and self._baseline is not None:
            used = max(anonymous_bytes(self.pid) - self._baseline, 0)
            progress = replace(progress, used_bytes=used)
        self._on_progress(progress)

    def _send(self, outcome: Outcome) -> None:
        try:
            self.connection.send(outcome)
        except OSError:
            self.disconnected = True  # it has ended already: the exit status says how

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            return  # it has ended in the meantime
