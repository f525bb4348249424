"""Keep the executor's slots full of jobs, and store a record of each, until all are done."""

import math
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cache
from pathlib import Path

from scalelab.core.events import Progress, SweepObserver
from scalelab.core.limits import Limits
from scalelab.core.records import Outcome, Record
from scalelab.core.units import format_seconds
from scalelab.store.writer import LedgerWriter
from scalelab.sweeping.device_memory import find_room
from scalelab.sweeping.jobs import Job
from scalelab.sweeping.median_rule import MedianRule
from scalelab.sweeping.signals import Stops
from scalelab.workers.task import Executor, Task, ended

__all__ = ["Driver"]

_POLL_S = 0.2
# A machine that loses a run this often will lose it again.
_MOST_LOSSES = 3


class Driver:
    """The loop of a sweep. Single-threaded; the ledger's writer has a thread of its own.

    `gpus` are the UUIDs of this machine's GPUs, asked for when the first run wants one.
    `with_baselines` are the data fingerprints and protocols whose baselines are stored; the first
    run of another brings them along.
    """

    def __init__(
        self,
        *,
        executor: Executor,
        writer: LedgerWriter,
        observer: SweepObserver,
        stops: Stops,
        study_id: str,
        limits: Limits,
        keep: Path,
        total_s: float | None = None,
        rule: MedianRule | None = None,
        gpus: Callable[[], Sequence[str]] = tuple,
        with_baselines: Collection[tuple[str, str]] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.ended: list[str] = []
        self.num_late = 0
        self._executor = executor
        self._writer = writer
        self._observer = observer
        self._stops = stops
        self._study_id = study_id
        self._limits = limits
        self._keep = keep
        self._total_s = math.inf if total_s is None else total_s
        self._rule = rule
        self._ask_gpus = cache(gpus)
        self._with_baselines = set(with_baselines)
        self._places: dict[str, str] = {}
        self._told_of_sharing = False
        self._clock = clock
        self._began_s = clock()
        self._waiting: deque[Job] = deque()
        self._running: dict[str, tuple[Job, Task, float]] = {}
        self._receipts: deque[tuple[Future[None], Record]] = deque()
        self._losses: Counter[str] = Counter()
        self._told = 0
        self._measured_s = 0.0
        self._num_measured = 0
        self._predicted_s = 0.0

    @property
    def stopping(self) -> bool:
        """No new run starts any more."""
        return self._stops.count > 0

    def free(self) -> int:
        """How many more jobs could run now."""
        return self._executor.slots - len(self._running) - len(self._waiting)

    def add(self, jobs: Sequence[Job]) -> None:
        """Queue jobs that are due; store those that are skipped."""
        for job in jobs:
            if job.skipped_because is not None:
                task = self._task(job)
                reason = job.skipped_because
                self._store(job, ended(task, Outcome.SKIPPED, phase="plan", error=reason))
            elif job.due:
                self._waiting.append(job)

    def run(self) -> None:
        """Until nothing waits or runs, or until stopped."""
        while self.turn():
            continue
        self._answer(wait=True)

    def turn(self) -> bool:
        """Start what can start, hear what there is to hear; False when nothing is left to do."""
        self._obey()
        while self._waiting and not self.stopping and len(self._running) < self._executor.slots:
            found = self._next()
            if found is None:
                break
            self._start(*found)
        if self.stopping:
            self._waiting.clear()
        if not self._running:
            return bool(self._waiting)
        self._executor.poll(_POLL_S)
        self._answer()
        return True

    def on_progress(self, progress: Progress) -> None:
        """A running run has moved."""
        found = self._running.get(progress.run_id)
        if found is None:
            return
        self._observer.on_progress(progress)
        if self._rule is not None:
            reason = self._rule.hopeless(found[0], progress)
            if reason is not None:
                self._executor.end(progress.run_id, Outcome.PRUNED, reason)

    def on_record(self, record: Record) -> None:
        """A run has ended."""
        job, task, started_s = self._running.pop(record.run.run_id)
        if task.baselines and not record.baselines:
            self._with_baselines.discard(_protocol_of(task))
        forecast = job.forecast
        if record.run.outcome is Outcome.DONE:
            self._num_measured += 1
            self._measured_s += self._clock() - started_s
            if forecast is not None and forecast.seconds is not None:
                self._predicted_s += forecast.seconds
        if self._rule is not None:
            self._rule.learn(job, record)
        self._store(job, record)
        if record.run.outcome is not Outcome.INTERRUPTED:
            shutil.rmtree(self._keep / job.fingerprint, ignore_errors=True)

    def on_lost(self, run_id: str, why: str) -> None:
        """A run has gone with the place where it ran: it is no result, and runs again."""
        job, task, _ = self._running.pop(run_id)
        if task.baselines:
            self._with_baselines.discard(_protocol_of(task))
        self._losses[job.fingerprint] += 1
        if self._losses[job.fingerprint] >= _MOST_LOSSES:
            reason = f"lost {_MOST_LOSSES} times; at last: {why}"
            self._store(job, ended(task, Outcome.FAILED, error=reason))
            return
        self._store(job, ended(task, Outcome.INTERRUPTED, error=why))
        self._observer.on_message(f"{job.cell.label}: {why}; it runs again")
        self._waiting.appendleft(replace(job, attempt=job.attempt + 1))

    def abandon(self) -> None:
        """What still runs is stored as interrupted."""
        for job, task, _ in list(self._running.values()):
            self._store(job, ended(task, Outcome.INTERRUPTED, error="stopped at once"))
        self._running.clear()
        self._answer(wait=True)

    def _obey(self) -> None:
        while self._told < self._stops.count:
            self._told += 1
            if self._told == 1:
                self._observer.on_message(
                    "stopping: current runs finish their epoch; once more ends them at once"
                )
            if self._told <= 2:
                self._executor.stop(now=self._told == 2)

    def _next(self) -> tuple[Job, str] | None:
        """The first job that would end in time, and where; None too while no memory is free."""
        left_s = self._total_s - (self._clock() - self._began_s)
        for index, job in enumerate(self._waiting):
            if self._expected_s(job) > left_s:
                continue
            place = self._place(job)
            if place is None:
                return None
            del self._waiting[index]
            return job, place
        number = len(self._waiting)
        self.num_late += number
        self._observer.on_message(
            f"{number} runs not started: they would end past the time budget of "
            f"{format_seconds(self._total_s)}; the same command goes on with them"
        )
        self._waiting.clear()
        return None

    def _place(self, job: Job) -> str | None:
        """The device of this machine that has room; on a cluster that is for its scheduler."""
        name = job.cell.spec.device.name
        if not self._executor.shares_memory:
            return name
        running = [(other, self._places[key]) for key, (other, _, _) in self._running.items()]
        return find_room(job, running, len(self._ask_gpus()) if name == "cuda" else 0)

    def _expected_s(self, job: Job) -> float:
        """By its forecast, corrected by how wrong the others were; else as long as the others."""
        predicted = job.forecast.seconds if job.forecast else None
        if predicted is None:
            return self._measured_s / self._num_measured if self._num_measured else 0.0
        ratio = self._measured_s / self._predicted_s if self._predicted_s else 1.0
        return predicted * ratio

    def _start(self, job: Job, place: str) -> None:
        task = self._task(job)
        if self._executor.shares_memory and place != "cpu":
            task = self._on_gpu(task, place)
        if _protocol_of(task) not in self._with_baselines:
            self._with_baselines.add(_protocol_of(task))
            task = replace(task, baselines=True)
        self._places[task.run_id] = place
        self._running[task.run_id] = job, task, self._clock()
        self._writer.append(ended(task, Outcome.RUNNING))
        self._executor.submit(task)
        self._observer.on_run_start(task.run_id)

    def _on_gpu(self, task: Task, place: str) -> Task:
        """The task, told which of several GPUs is its own."""
        if not self._told_of_sharing and place in (self._places[key] for key in self._running):
            self._told_of_sharing = True
            self._observer.on_message(
                f"runs share {place}: their times, and device_used, are of all that are on it"
            )
        if task.spec.device.name != "cuda" or len(self._ask_gpus()) < 2:
            return task
        return replace(task, gpu=self._ask_gpus()[int(place.partition(":")[2])])

    def _task(self, job: Job) -> Task:
        return Task(
            run_id=job.run_id,
            study_id=self._study_id,
            fingerprint=job.fingerprint,
            data_fingerprint=job.data_fingerprint,
            attempt=job.attempt,
            spec=job.cell.spec,
            limits=self._limits,
            keep=str(self._keep / job.fingerprint),
            expected_bytes=job.forecast.needed_bytes if job.forecast else None,
        )

    def _store(self, job: Job, record: Record) -> None:
        if job.forecast is not None:
            run = record.run
            if run.num_items is None:
                run = replace(run, num_items=job.forecast.num_items)
            record = replace(record, run=run, memory=(*record.memory, *job.forecast.memory))
        self.outcomes[job.fingerprint] = record.run.outcome
        if record.run.outcome is not Outcome.INTERRUPTED:
            self.ended.append(job.fingerprint)
        self._receipts.append((self._writer.append(record), record))

    def _answer(self, wait: bool = False) -> None:
        """Tell of records that are on disk by now. Raises LedgerError where one cannot be."""
        while self._receipts and (wait or self._receipts[0][0].done()):
            receipt, record = self._receipts.popleft()
            receipt.result()
            self._observer.on_run_end(record)


def _protocol_of(task: Task) -> tuple[str, str]:
    """Which baselines the task is to be compared with."""
    return task.data_fingerprint or "", task.spec.protocol
