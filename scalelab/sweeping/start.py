"""Start the executor of a sweep once, while the driver still plans."""

from collections.abc import Sequence
from dataclasses import dataclass

from scalelab.core.events import SweepObserver
from scalelab.core.spec import RunSpec
from scalelab.sweeping.driver import Driver
from scalelab.sweeping.hooks import Hooks
from scalelab.sweeping.jobs import Job
from scalelab.workers.task import Executor

__all__ = ["Start"]


@dataclass(kw_only=True)
class Start:
    """Opens the executor before its first run."""

    executor: Executor
    driver: Driver
    hooks: Hooks
    observer: SweepObserver
    _is_open: bool = False
    _has_run: bool = False

    def open(self, specs: Sequence[RunSpec]) -> None:
        """Open it, unless it is open; it imports what these specs need while the caller goes on."""
        if self._is_open:
            return
        self.executor.open(
            run=self.hooks.run,
            on_progress=self.driver.on_progress,
            on_record=self.driver.on_record,
            on_lost=self.driver.on_lost,
            modules=self.hooks.modules(specs),
        )
        self._is_open = True

    def run(self, jobs: Sequence[Job]) -> None:
        """Give the jobs to the driver, with the executor open if one of them is to run."""
        if any(job.due for job in jobs):
            if not self._has_run:
                self.observer.on_activity("starting the first process")
            self._has_run = True
            self.open([job.configuration.spec for job in jobs])
        self.driver.add(jobs)
