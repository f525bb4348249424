"""Keep the executor's slots full of jobs, and store a record of each, until all are done."""

import math
import shutil
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from functools import cache
from pathlib import Path

from scalelab.core.events import Progress, SweepObserver
from scalelab.core.limits import Limits
from scalelab.core.records import Memory, Outcome, Record
from scalelab.core.units import format_seconds
from scalelab.store.writer import LedgerWriter
from scalelab.sweeping.device_memory import find_device
from scalelab.sweeping.jobs import Job
from scalelab.sweeping.known_baselines import KnownBaselines
from scalelab.sweeping.median_rule import MedianRule
from scalelab.sweeping.running import Running, unfinished_record
from scalelab.sweeping.signals import StopSignals
from scalelab.workers.last_progress import LastProgress
from scalelab.workers.task import Executor, Task, task_record, utc_now

__all__ = ["Driver"]

_POLL_S = 0.2
# A run that is lost this often would be lost again.
_MOST_LOSSES = 3
# A ledger that another process holds for longer than this must not hold up the view of the sweep.
_ANNOUNCE_S = 1.0


class Driver:
    """The loop of a sweep. Single-threaded; the ledger's writer has a thread of its own.

    `gpus` gives the UUIDs of this machine's GPUs; it is called when the first run needs one.
    `with_baselines` are those that are stored; the first run of another data set or protocol brings
    its own along.
    """

    def __init__(
        self,
        *,
        executor: Executor,
        writer: LedgerWriter,
        observer: SweepObserver,
        stops: StopSignals,
        study_id: str,
        limits: Limits,
        checkpoint_root: Path,
        total_s: float | None = None,
        pruning: MedianRule | None = None,
        gpus: Callable[[], Sequence[str]] = tuple,
        with_baselines: KnownBaselines | None = None,
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
        self._checkpoint_root = checkpoint_root
        self._total_s = math.inf if total_s is None else total_s
        self._pruning = pruning
        self._gpus = cache(gpus)
        self._with_baselines = with_baselines or KnownBaselines()
        self._sharing_announced = False
        self._clock = clock
        self._began_s = clock()
        self._waiting: deque[Job] = deque()
        self._running: dict[str, Running] = {}
        self._receipts: deque[tuple[Future[None], Record]] = deque()
        self._losses: Counter[str] = Counter()
        self._num_stops_handled = 0
        self._measured_s = 0.0
        self._num_measured = 0
        self._predicted_s = 0.0

    @property
    def stopping(self) -> bool:
        """Whether a stop signal has come: no new run starts."""
        return self._stops.count > 0

    @property
    def num_free(self) -> int:
        """How many more jobs could run now."""
        return self._executor.slots - len(self._running) - len(self._waiting)

    def add(self, jobs: Sequence[Job]) -> None:
        """Queue jobs that are due; store those that are skipped."""
        for job in jobs:
            if job.skipped_because is not None:
                task = self._task(job)
                reason = job.skipped_because
                self._store(job, task_record(task, Outcome.SKIPPED, phase="plan", error=reason))
            elif job.due:
                self._waiting.append(job)

    def run(self) -> None:
        """Run all that was added; returns when nothing waits or runs, or when stopped."""
        while self.step():
            continue
        self._writer.flush(self._observer.on_message)
        self._announce_stored(patience_s=None)

    def step(self) -> bool:
        """Start what can start and process messages; False when nothing is left to do."""
        self._handle_stop_signals()
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
        self._announce_stored()
        return True

    def on_progress(self, progress: Progress) -> None:
        """Handle the progress of a running run."""
        found = self._running.get(progress.run_id)
        if found is None:
            return
        found.last_progress.update(progress)
        self._observer.on_progress(progress)
        if self._pruning is not None:
            reason = self._pruning.should_prune(found.job, progress)
            if reason is not None:
                self._executor.end(progress.run_id, Outcome.PRUNED, reason)

    def on_record(self, record: Record) -> None:
        """Handle the record of a run that has ended."""
        running = self._running.pop(record.run.run_id)
        job = running.job
        if running.task.baselines and not record.baselines:
            self._with_baselines.discard(running.task.data_fingerprint, running.task.spec)
        forecast = job.forecast
        if record.run.outcome is Outcome.DONE:
            self._num_measured += 1
            self._measured_s += self._clock() - running.started_s
            if forecast is not None and forecast.seconds is not None:
                self._predicted_s += forecast.seconds
        if self._pruning is not None:
            self._pruning.record(job, record)
        self._store(job, record)
        if record.run.outcome is not Outcome.INTERRUPTED:
            shutil.rmtree(self._checkpoint_root / job.fingerprint, ignore_errors=True)

    def on_lost(self, run_id: str, why: str, memory: Sequence[Memory] = ()) -> None:
        """Handle a run whose process or node was lost: it is interrupted, and runs again."""
        running = self._running.pop(run_id)
        job = running.job
        if running.task.baselines:
            self._with_baselines.discard(running.task.data_fingerprint, running.task.spec)
        self._losses[job.fingerprint] += 1
        if self._losses[job.fingerprint] >= _MOST_LOSSES:
            reason = f"lost {_MOST_LOSSES} times; the last time: {why}"
            self._store(job, unfinished_record(running, Outcome.FAILED, reason, memory))
            return
        self._store(job, unfinished_record(running, Outcome.INTERRUPTED, why, memory))
        self._observer.on_message(f"{job.configuration.label}: {why}; it runs again")
        self._waiting.appendleft(replace(job, attempt=job.attempt + 1))

    def abandon(self, reason: str) -> None:
        """Store what still runs as interrupted."""
        for running in self._running.values():
            self._store(running.job, unfinished_record(running, Outcome.INTERRUPTED, reason))
        self._running.clear()
        self._announce_stored(patience_s=None)

    def _handle_stop_signals(self) -> None:
        while self._num_stops_handled < self._stops.count:
            self._num_stops_handled += 1
            if self._num_stops_handled == 1:
                self._observer.on_message(
                    "stopping: current runs finish their epoch; a second Ctrl-C ends them at once"
                )
            if self._num_stops_handled <= 2:
                self._executor.stop(now=self._num_stops_handled == 2)

    def _next(self) -> tuple[Job, str] | None:
        """The first job that would end in time, and its device; None while no memory is free."""
        left_s = self._total_s - (self._clock() - self._began_s)
        for index, job in enumerate(self._waiting):
            if self._expected_s(job) > left_s:
                continue
            device = self._device_for(job)
            if device is None:
                return None
            del self._waiting[index]
            return job, device
        number = len(self._waiting)
        self.num_late += number
        self._observer.on_message(
            f"{number} runs not started: they would end after the time budget of "
            f"{format_seconds(self._total_s)}; the same command runs them later"
        )
        self._waiting.clear()
        return None

    def _device_for(self, job: Job) -> str | None:
        """A device with enough free memory; on a cluster its scheduler chooses the device."""
        name = job.configuration.spec.device.name
        if not self._executor.shares_memory:
            return name
        running = [(other.job, other.device) for other in self._running.values()]
        return find_device(job, running, len(self._gpus()) if name == "cuda" else 0)

    def _expected_s(self, job: Job) -> float:
        """Predicted seconds, corrected by past errors; without a prediction, the mean so far."""
        predicted = job.forecast.seconds if job.forecast else None
        if predicted is None:
            return self._measured_s / self._num_measured if self._num_measured else 0.0
        ratio = self._measured_s / self._predicted_s if self._predicted_s else 1.0
        return predicted * ratio

    def _start(self, job: Job, device: str) -> None:
        task = self._task(job)
        if self._executor.shares_memory and device != "cpu":
            task = self._on_gpu(task, device)
        if not self._with_baselines.has(task.data_fingerprint, task.spec):
            self._with_baselines.add(task.data_fingerprint, task.spec)
            task = replace(task, baselines=True)
        self._running[task.run_id] = Running(
            job=job,
            task=task,
            device=device,
            started_s=self._clock(),
            started_at=utc_now(),
            last_progress=LastProgress(),
        )
        self._writer.append(task_record(task, Outcome.RUNNING))
        self._executor.submit(task)
        self._announce_stored(patience_s=_ANNOUNCE_S)
        self._observer.on_run_start(task.run_id)

    def _on_gpu(self, task: Task, device: str) -> Task:
        """The task with the UUID of its GPU, where there are several."""
        if not self._sharing_announced and any(
            device == other.device for other in self._running.values()
        ):
            self._sharing_announced = True
            self._observer.on_message(
                f"several runs share {device}: their times and device_used include one another"
            )
        if task.spec.device.name != "cuda" or len(self._gpus()) < 2:
            return task
        return replace(task, gpu=self._gpus()[int(device.partition(":")[2])])

    def _task(self, job: Job) -> Task:
        return Task(
            run_id=job.run_id,
            study_id=self._study_id,
            fingerprint=job.fingerprint,
            data_fingerprint=job.data_fingerprint,
            attempt=job.attempt,
            spec=job.configuration.spec,
            limits=self._limits,
            checkpoint_dir=str(self._checkpoint_root / job.fingerprint),
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

    def _announce_stored(self, patience_s: float | None = 0.0) -> None:
        """Announce records that are on disk, waiting so long at most for each (None: always).

        Raises LedgerError where one cannot be written.
        """
        self._writer.show_messages(self._observer.on_message)
        while self._receipts:
            receipt, record = self._receipts[0]
            if patience_s is not None and not wait([receipt], timeout=patience_s).done:
                return
            self._receipts.popleft()
            receipt.result()
            self._observer.on_run_end(record)
