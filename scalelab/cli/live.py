"""Collect the events of a sweep and give snapshots of its state, without drawing anything."""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from scalelab.cli.earlier import Earlier
from scalelab.cli.finished import (
    Finished,
    Reference,
    comparable,
    configuration_of_record,
    finished_of,
    references_of,
    without_seed,
)
from scalelab.cli.pareto_front import ParetoFronts, Point, budgets_around
from scalelab.cli.remaining import Remaining
from scalelab.core.events import Planned, Progress, SweepObserver
from scalelab.core.records import LOST, Outcome, Record
from scalelab.core.run_notes import notes_on_run

__all__ = ["LiveState", "Running", "Snapshot"]

# More than any screen shows.
_KEPT_FINISHED = 100
_KEPT_MESSAGES = 20
_FAULTS = (Outcome.FAILED, Outcome.DIVERGED, Outcome.TIMEOUT)


@dataclass(frozen=True, kw_only=True)
class Running:
    """A run in progress. `limit_bytes` is the budget, else the predicted peak.

    `curve` is the metric of its evaluations so far.
    """

    label: str
    elapsed_s: float
    progress: Progress | None
    limit_bytes: int | None
    curve: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """The state of a sweep at one instant. `left` is None while it cannot be estimated.

    `left` is the least and the most seconds to the end, `activity` what the sweep does while
    nothing runs, `labels` those of all runs, `metrics` those that chose between finished ones.
    """

    name: str
    device: str
    elapsed_s: float
    left: tuple[float, float] | None
    activity: str
    labels: tuple[str, ...]
    total: int
    counts: dict[str, int]
    running: tuple[Running, ...]
    finished: tuple[Finished, ...]
    metrics: tuple[str, ...]
    pareto_front: tuple[Point, ...]
    baselines: tuple[Reference, ...]
    budgets: tuple[int, ...]
    messages: tuple[str, ...]

    @property
    def over(self) -> int:
        """Runs that need no more work, including those of earlier sweeps."""
        return sum(self.counts.values())


class LiveState(SweepObserver):
    """The state of a sweep, built from its events; threads may share it.

    `budget_bytes` is the memory that a run may use, `workers` how many run at a time; `clock`
    returns seconds. `earlier` gives what earlier sweeps have found for the runs that it is given.
    """

    def __init__(
        self,
        budget_bytes: int | None = None,
        workers: int = 1,
        clock: Callable[[], float] = time.monotonic,
        earlier: Callable[[Sequence[Planned]], Earlier] | None = None,
    ) -> None:
        self._earlier = earlier
        self._lock = threading.Lock()
        self._clock = clock
        self._budget_bytes = budget_bytes
        self._began = clock()
        self._ended: float | None = None
        self._name = ""
        self._device = ""
        self._cells: dict[str, Planned] = {}
        self._ending: dict[str, str] = {}
        self._counts: Counter[str] = Counter()
        self._started: dict[str, float] = {}
        self._progress: dict[str, Progress] = {}
        self._finished: deque[Finished] = deque(maxlen=_KEPT_FINISHED)
        self._messages: deque[str] = deque(maxlen=_KEPT_MESSAGES)
        self._activity = ""
        self._labels: tuple[str, ...] = ()
        self._curves: dict[str, list[float]] = {}
        # One per data set, protocol and device: across those, nothing is comparable.
        self._pareto_fronts = ParetoFronts()
        self._baselines: dict[tuple[str, ...], tuple[Reference, ...]] = {}
        # The metrics of the runs that have ended, by data fingerprint and protocol.
        self._metrics: dict[tuple[str, ...], dict[str, None]] = {}
        self._remaining = Remaining(workers)

    def on_plan(self, name: str, device: str, cells: Sequence[Planned]) -> None:
        before = [c for c in cells if c.finished_before and c.run_id not in self._cells]
        earlier = self._earlier(before) if before and self._earlier is not None else None
        with self._lock:
            if earlier is not None:
                self._take(earlier)
            self._name, self._device = name, device
            for cell in cells:
                self._add(cell)
            self._labels = tuple(dict.fromkeys(cell.label for cell in self._cells.values()))

    def on_activity(self, text: str) -> None:
        with self._lock:
            self._activity = text

    def on_run_start(self, run_id: str) -> None:
        with self._lock:
            if run_id not in self._cells:
                self._add_unplanned(run_id)
            if run_id not in self._started and run_id not in self._ending:
                self._remaining.remove(self._cells[run_id])
            self._started[run_id] = self._clock()

    def on_progress(self, progress: Progress) -> None:
        with self._lock:
            if progress.run_id in self._started:
                self._progress[progress.run_id] = progress
                if progress.metric is not None:
                    curve = self._curves.setdefault(progress.run_id, [])
                    # Between two evaluations the last figure is repeated.
                    if curve[-1:] != [progress.metric]:
                        curve.append(progress.metric)

    def on_run_end(self, record: Record) -> None:
        with self._lock:
            run_id = record.run.run_id
            if run_id not in self._cells:
                self._add_unplanned(run_id)
            started = self._started.pop(run_id, None)
            if started is None and run_id not in self._ending:
                self._remaining.remove(self._cells[run_id])
            elapsed_s = None if started is None else self._clock() - started
            self._progress.pop(run_id, None)
            self._curves.pop(run_id, None)
            self._end(run_id, record.run.outcome.value)
            place = (record.run.data_fingerprint or "", record.run.protocol)
            if record.baselines:
                self._baselines[place] = references_of(record)
            known = self._baselines.get(place, ())
            finished = finished_of(self._cells[run_id].label, record, known)
            self._metrics.setdefault(place, {})[finished.metric] = None
            self._finished.append(finished)
            if record.run.outcome in _FAULTS:
                where = f" in {record.run.phase}" if record.run.phase else ""
                text = f"{finished.outcome.value}{where}: {finished.label}: {finished.error}"
                self._messages.append(" ".join(text.split()))
            if record.run.outcome is Outcome.DONE:
                if elapsed_s is not None:
                    self._remaining.measured(self._cells[run_id], elapsed_s)
                self._add_point(comparable(record), configuration_of_record(record), finished)
            elif record.run.outcome in LOST:
                self._pareto_fronts.lose(configuration_of_record(record))
        for note in notes_on_run(record):
            self.on_message(f"{finished.label}: {note}" if finished.label else note)

    def on_message(self, text: str) -> None:
        with self._lock:
            self._messages.append(text)

    def on_end(self) -> None:
        with self._lock:
            self._ended = self._clock()

    def label(self, run_id: str) -> str:
        """The settings in which this run differs from the others of its study."""
        with self._lock:
            cell = self._cells.get(run_id)
        return cell.label if cell is not None else run_id

    def snapshot(self) -> Snapshot:
        """The state of the sweep now."""
        with self._lock:
            now = self._clock() if self._ended is None else self._ended
            points = self._pareto_fronts.points()
            return Snapshot(
                name=self._name,
                device=self._device,
                elapsed_s=now - self._began,
                left=self._left(now),
                activity=self._activity,
                labels=self._labels,
                total=len(self._cells),
                counts=dict(self._counts),
                running=tuple(self._running(run_id, now) for run_id in self._started),
                finished=tuple(self._finished),
                pareto_front=points,
                metrics=tuple(
                    {metric: None for found in self._metrics.values() for metric in found}
                ),
                baselines=tuple(
                    one
                    for place, found in self._baselines.items()
                    for one in found
                    if one.metric in self._metrics[place]
                ),
                budgets=budgets_around(self._budget_bytes, points),
                messages=tuple(self._messages),
            )

    def _take(self, earlier: Earlier) -> None:
        self._baselines.update(earlier.baselines)
        for run in earlier.runs:
            self._metrics.setdefault(run.place, {})[run.finished.metric] = None
            self._add_point(run.comparison, run.configuration, run.finished)
        for configuration in earlier.lost:
            self._pareto_fronts.lose(configuration)

    def _add_point(self, key: tuple[str, ...], settings: str, finished: Finished) -> None:
        self._pareto_fronts.add(key, settings, without_seed(finished.label), finished)

    def _add(self, cell: Planned) -> None:
        known = cell.run_id in self._cells
        self._cells[cell.run_id] = cell
        if known:
            return
        if cell.finished_before:
            self._end(cell.run_id, "before")
        elif cell.skipped_because is not None:
            self._end(cell.run_id, Outcome.SKIPPED.value)
        else:
            self._remaining.add(cell)

    def _add_unplanned(self, run_id: str) -> None:
        """Add a run that was not planned: a new attempt of an interrupted one, or of a search."""
        fingerprint = run_id.rpartition("-")[0]
        for earlier in [key for key in self._cells if key.rpartition("-")[0] == fingerprint]:
            if self._ending.get(earlier) == Outcome.INTERRUPTED.value:
                self._counts[self._ending.pop(earlier)] -= 1
                self._add(replace(self._cells.pop(earlier), run_id=run_id))
                return
        self._add(_unplanned(run_id, self._device))

    def _end(self, run_id: str, outcome: str) -> None:
        earlier = self._ending.get(run_id)
        if earlier is not None:
            self._counts[earlier] -= 1
        self._ending[run_id] = outcome
        self._counts[outcome] += 1

    def _left(self, now: float) -> tuple[float, float] | None:
        if self._ended is not None:
            return 0.0, 0.0
        running = ((self._cells[run_id], now - began) for run_id, began in self._started.items())
        return self._remaining.seconds(running)

    def _running(self, run_id: str, now: float) -> Running:
        cell = self._cells[run_id]
        limit_bytes = self._budget_bytes if self._budget_bytes is not None else cell.predicted_bytes
        return Running(
            label=cell.label,
            elapsed_s=now - self._started[run_id],
            progress=self._progress.get(run_id),
            limit_bytes=limit_bytes,
            curve=tuple(self._curves.get(run_id, ())),
        )


def _unplanned(run_id: str, device: str) -> Planned:
    return Planned(
        run_id=run_id,
        label=run_id,
        device=device,
        predicted_bytes=None,
        predicted_s=None,
        finished_before=False,
        skipped_because=None,
    )
