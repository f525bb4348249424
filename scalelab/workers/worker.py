"""Run one task in its own process, send its progress and at the end one record."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from scalelab.core.events import Progress
from scalelab.core.limits import process_limit
from scalelab.core.records import Outcome, Record
from scalelab.workers.last_progress import LastProgress
from scalelab.workers.process_memory import anonymous_bytes, data_bytes
from scalelab.workers.task import Stop, Task, find_run, task_record, utc_now

__all__ = ["adopt_orphans", "die_with_parent", "guarded", "work"]

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_REPORT_EVERY_S = 0.25
# Stacks of threads and the free memory of malloc count as data though nothing is in them.
_DATA_SLACK = 256 * 2**20


def die_with_parent(parent: int, number: signal.Signals = signal.SIGKILL) -> None:
    """Send this process a signal when its parent ends (Linux; elsewhere its pipe closes)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave behind (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def work(connection: Connection, run: str) -> None:
    """Receive one task from the connection, run it and send its record."""
    task: Task = connection.recv()
    if task.gpu is not None:
        # CUDA reads it when it starts, which it has not done in this process.
        os.environ["CUDA_VISIBLE_DEVICES"] = task.gpu
    stop = _StopFlag()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop.on_signal)
    threading.Thread(target=_listen, args=(connection, stop), daemon=True).start()
    connection.send(("started", anonymous_bytes(os.getpid())))
    _limit_data(task.host_bytes)
    reporter = _Reporter(connection)
    record = guarded(find_run(run), task, reporter, stop)
    connection.send(("record", record))


def guarded(
    run: Callable[..., Record],
    task: Task,
    report: Callable[[Progress], None],
    stop: Stop,
) -> Record:
    """The record of `run`, or one with its exception; never raises for a fault of the run."""
    started_at = utc_now()
    last_progress = LastProgress()

    def update(progress: Progress) -> None:
        last_progress.update(progress)
        report(progress)

    try:
        return run(task, update, stop)
    except Exception as error:
        from scalelab.measure.memory_errors import out_of_memory

        line = " ".join(str(error).split())
        if out_of_memory(error):
            outcome, message = Outcome.OOM, line or "out of memory"
        else:
            outcome, message = Outcome.FAILED, f"{type(error).__name__}: {line}"
    return task_record(
        task,
        outcome,
        phase=last_progress.phase,
        error=message,
        started_at=started_at,
        metrics=last_progress.metrics,
        memory=last_progress.memory,
        epochs=last_progress.epochs,
    )


class _Reporter:
    """Sends a few reports per second, and each report with a new phase, epoch or metric."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._next_s = 0.0
        self._last: tuple[object, ...] = ()

    def __call__(self, progress: Progress) -> None:
        now = time.monotonic()
        state = (
            progress.epoch,
            progress.metric,
            progress.phase in _WITHIN_A_STEP or progress.phase,
        )
        if now < self._next_s and state == self._last:
            return
        self._next_s, self._last = now + _REPORT_EVERY_S, state
        self._connection.send(("progress", progress))


_WITHIN_A_STEP = frozenset({"data", "forward", "loss", "backward", "optimizer"})


class _StopFlag:
    """Whether, and with which outcome, the run has to stop after its epoch."""

    def __init__(self) -> None:
        self.outcome: Outcome | None = None

    def __call__(self) -> bool | Outcome:
        return self.outcome or False

    def on_signal(self, *_: object) -> None:
        self.outcome = self.outcome or Outcome.INTERRUPTED


def _listen(connection: Connection, stop: _StopFlag) -> None:
    """Receive stop requests; a closed pipe means that the driver has ended: end this process."""
    while True:
        try:
            stop.outcome = connection.recv()
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGKILL)


def _limit_data(host_bytes: int | None) -> None:
    if host_bytes is not None and sys.platform == "linux":
        import resource  # not on Windows

        most = data_bytes() + process_limit(host_bytes) + _DATA_SLACK
        resource.setrlimit(resource.RLIMIT_DATA, (most, resource.RLIM_INFINITY))
