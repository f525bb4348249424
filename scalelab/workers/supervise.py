"""Run one task in a new process and supervise it until the process has ended."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait

from scalelab.core.events import Progress
from scalelab.core.records import Outcome, Record
from scalelab.workers.child import Child
from scalelab.workers.fork_server import ForkServer
from scalelab.workers.task import Task

__all__ = ["StopRequest", "supervise"]

_POLL_S = 0.05


@dataclass(frozen=True, kw_only=True)
class StopRequest:
    """End a run with `outcome`, after its epoch or `now`. Without `reason`: a person stopped it."""

    outcome: Outcome
    reason: str
    now: bool


def supervise(
    task: Task,
    run: str,
    modules: Sequence[str],
    *,
    threads: int,
    on_progress: Callable[[Progress], None],
    stop_request: Callable[[], StopRequest | None],
) -> Record:
    """Run the task as the executor `processes` would. `stop_request` is polled."""
    server = ForkServer(run, modules, threads)
    try:
        pid, connection = server.fork()
        child = Child(task, pid, connection, on_progress=on_progress)
        handled = None
        while True:
            open_pipes = [] if child.disconnected else [child.connection]
            wait([server.control_socket, *open_pipes], _POLL_S)
            child.drain_messages()
            child.enforce_limits()
            request = stop_request()
            if request is not None and request != handled:
                handled = request
                if request.reason:
                    child.end(request.outcome, request.reason, now=request.now)
                else:
                    child.request_stop()
            for status in server.exits():
                return child.finish(status)
    finally:
        server.close()
