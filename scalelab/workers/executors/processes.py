"""Tasks in, records out; each run in a fresh process forked from a warm one on this machine."""

import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import wait
from typing import ClassVar

from scalelab.core.events import Progress
from scalelab.core.records import Outcome, Record
from scalelab.workers.child import Child
from scalelab.workers.executors._options import Threads, Workers
from scalelab.workers.fork_server import Server, ServerGone
from scalelab.workers.oom_kills import OomKills
from scalelab.workers.task import Task

__all__ = ["Processes"]

# A run that takes memory at 2 GB/s is found 100 MB over its limit at the latest.
_WATCH_EVERY_S = 0.05


class Processes:
    """`workers` runs at a time; whatever one does, the others go on."""

    blocking: ClassVar[bool] = False
    shares_memory: ClassVar[bool] = True

    def __init__(self, *, workers: Workers = 1, threads: Threads = 0) -> None:
        self.slots = workers
        self._threads = threads
        self._server: Server | None = None
        self._children: dict[int, Child] = {}
        self._kills = OomKills()

    def open(
        self,
        run: str,
        on_progress: Callable[[Progress], None],
        on_record: Callable[[Record], None],
        on_lost: Callable[[str, str], None],
        modules: Sequence[str],
    ) -> None:
        """Start the warm process; it imports while the caller goes on."""
        self._start = lambda: Server(run, modules, self._threads)
        self._on_progress, self._on_record, self._on_lost = on_progress, on_record, on_lost
        self._server = self._start()

    def submit(self, task: Task) -> None:
        """Fork a process for the task. Raises ServerGone."""
        assert self._server is not None, "open comes first"
        pid, connection = self._server.fork()
        self._children[pid] = Child(task, pid, connection, self._on_progress, self._kills)

    def poll(self, timeout_s: float) -> None:
        """Hear the runs, and watch over their limits all the while."""
        until_s = time.monotonic() + timeout_s
        while not self._look(min(_WATCH_EVERY_S, timeout_s)) and time.monotonic() < until_s:
            continue

    def _look(self, timeout_s: float) -> bool:
        assert self._server is not None, "open comes first"
        talking = [child.connection for child in self._children.values() if not child.deaf]
        heard = wait([self._server.news, *talking], timeout_s)
        for child in self._children.values():
            if child.connection in heard:
                child.hear()
            child.watch()
        try:
            exits = self._server.exits()
        except ServerGone as error:
            self._restart(str(error))
            return True
        for left in exits:
            child = self._children.pop(left.pid)
            self._on_record(child.finish(left))
        return bool(exits)

    def stop(self, now: bool) -> None:
        """Ask all runs to stop after their epoch, or end them `now`."""
        for child in self._children.values():
            if now:
                child.end(Outcome.INTERRUPTED, "stopped at once", now=True)
            else:
                child.ask_to_stop()

    def end(self, run_id: str, outcome: Outcome, reason: str) -> None:
        """End one run."""
        for child in self._children.values():
            if child.task.run_id == run_id:
                child.end(outcome, reason)

    def close(self) -> None:
        """End the warm process and all that came from it."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _restart(self, why: str) -> None:
        """Its children died with it, through no fault of theirs."""
        assert self._server is not None, "open comes first"
        lost, self._children = self._children, {}
        self._server.close()
        self._server = self._start()
        for child in lost.values():
            child.connection.close()
            self._on_lost(child.task.run_id, why)
