"""Run each task in a new process on this machine, forked from one that has imported torch."""

import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection, wait
from typing import ClassVar

from scalelab.core.events import Progress
from scalelab.core.records import Memory, Outcome, Record
from scalelab.workers.child import Child
from scalelab.workers.executors._options import Threads, Workers
from scalelab.workers.fork_server import ForkServer, ForkServerDied
from scalelab.workers.oom_kills import OomKills
from scalelab.workers.task import Task

__all__ = ["Processes"]

# A run that allocates 2 GB/s is ended at most 100 MB over its limit.
_POLL_S = 0.05
# A fork server that has ended this often in a row fails at what it imports.
_MOST_DEATHS = 3


class Processes:
    """Runs `workers` tasks at a time; a crash of one does not touch the others."""

    blocking: ClassVar[bool] = False
    shares_memory: ClassVar[bool] = True

    def __init__(self, *, workers: Workers = 1, threads: Threads = 0) -> None:
        self.slots = workers
        self._threads = threads
        self._server: ForkServer | None = None
        self._children: dict[int, Child] = {}
        self._kills = OomKills()

    def open(
        self,
        *,
        run: str,
        on_progress: Callable[[Progress], None],
        on_record: Callable[[Record], None],
        on_lost: Callable[[str, str, Sequence[Memory]], None],
        modules: Sequence[str],
    ) -> None:
        """Start the fork server; it imports while the caller goes on."""
        self._start = lambda: ForkServer(run, modules, self._threads)
        self._on_progress, self._on_record, self._on_lost = on_progress, on_record, on_lost
        self._server = self._start()

    def submit(self, task: Task) -> None:
        """Fork a process for the task. Raises ForkServerDied where no server stays alive."""
        pid, connection = self._fork()
        self._children[pid] = Child(
            task, pid, connection, on_progress=self._on_progress, kills=self._kills
        )

    def _fork(self) -> tuple[int, Connection]:
        num_deaths = 0
        while True:
            assert self._server is not None, "open comes first"
            try:
                return self._server.fork()
            except ForkServerDied as error:
                num_deaths += 1
                self._restart(error.message)
                if num_deaths == _MOST_DEATHS:
                    raise

    def poll(self, timeout_s: float) -> None:
        """Handle messages of the runs, and enforce their limits."""
        until_s = time.monotonic() + timeout_s
        while not self._poll_once(min(_POLL_S, timeout_s)) and time.monotonic() < until_s:
            continue

    def _poll_once(self, timeout_s: float) -> bool:
        assert self._server is not None, "open comes first"
        open_pipes = [
            child.connection for child in self._children.values() if not child.disconnected
        ]
        ready = wait([self._server.control_socket, *open_pipes], timeout_s)
        for child in self._children.values():
            if child.connection in ready:
                child.drain_messages()
            child.enforce_limits()
        try:
            exits = self._server.exits()
        except ForkServerDied as error:
            self._restart(error.message)
            return True
        for status in exits:
            child = self._children.pop(status.pid)
            self._on_record(child.finish(status))
        return bool(exits)

    def stop(self, now: bool) -> None:
        """Ask all runs to stop after their epoch, or end them `now`."""
        for child in self._children.values():
            if now:
                child.end(Outcome.INTERRUPTED, "stopped at once", now=True)
            else:
                child.request_stop()

    def end(self, run_id: str, outcome: Outcome, reason: str) -> None:
        """End one run."""
        for child in self._children.values():
            if child.task.run_id == run_id:
                child.end(outcome, reason)

    def close(self) -> None:
        """End the fork server and its children."""
        if self._server is not None:
            self._server.close()
            self._server = None

    def _restart(self, why: str) -> None:
        """Start a new fork server; the runs of the old one ended with it and are lost."""
        assert self._server is not None, "open comes first"
        lost, self._children = self._children, {}
        self._server.close()
        self._server = self._start()
        for child in lost.values():
            record = child.abandon()
            if record is not None:
                self._on_record(record)
            else:
                self._on_lost(child.task.run_id, why, child.known_memory)
