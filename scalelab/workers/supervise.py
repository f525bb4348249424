"""A task in, its record out: one run in a fresh process, watched over until it is gone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait

from scalelab.core.events import Progress
from scalelab.core.records import Outcome, Record
from scalelab.workers.child import Child
from scalelab.workers.fork_server import Server
from scalelab.workers.task import Task

__all__ = ["Order", "supervise"]

_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, kw_only=True)
class Order:
    """A run shall end with `outcome`, after its epoch or `now`; a person's wish has no `reason`."""

    outcome: Outcome
    reason: str
    now: bool


def supervise(
    task: Task,
    run: str,
    modules: Sequence[str],
    threads: int,
    on_progress: Callable[[Progress], None],
    orders: Callable[[], Order | None],
) -> Record:
    """Run the task as the executor `processes` would. `orders` is asked all the while."""
    server = Server(run, modules, threads)
    try:
        pid, connection = server.fork()
        child = Child(task, pid, connection, on_progress)
        obeyed = None
        while True:
            talking = [] if child.deaf else [child.connection]
            wait([server.news, *talking], _LOOK_EVERY_S)
            child.hear()
            child.watch()
            order = orders()
            if order is not None and order != obeyed:
                obeyed = order
                if order.reason:
                    child.end(order.outcome, order.reason, now=order.now)
                else:
                    child.ask_to_stop()
            for left in server.exits():
                return child.finish(left)
    finally:
        server.close()
