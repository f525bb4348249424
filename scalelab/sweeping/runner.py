"""Plan and run every cell of a study, and store what comes of it in a ledger."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra, SpecError
from scalelab.core.events import SweepObserver
from scalelab.core.records import Outcome
from scalelab.core.spec import RunSpec
from scalelab.core.study import StudySpec
from scalelab.core.units import parse_bytes, parse_seconds
from scalelab.store.ledger import Attempt, Ledger
from scalelab.store.writer import LedgerWriter
from scalelab.studies.forecast import Forecast
from scalelab.studies.grid import Cell, expand
from scalelab.studies.study_toml import toml_of
from scalelab.sweeping.driver import Driver
from scalelab.sweeping.final_seeds import best_cells, check_final
from scalelab.sweeping.hooks import Hooks
from scalelab.sweeping.jobs import Job, Planner, again, in_order
from scalelab.sweeping.median_rule import MedianRule
from scalelab.sweeping.result import SweepResult
from scalelab.sweeping.signals import listening
from scalelab.workers.fork_server import threads_each
from scalelab.workers.task import Executor, Limits, utc_now

__all__ = ["Hooks", "sweep"]


# From here on predictions take long enough for a person to wonder.
_MANY = 50


def sweep(
    study: StudySpec,
    ledger: str | Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    executor: str = "processes",
    workers: int = 1,
    device: str | None = None,
    budget: int | None = None,
    time_budget: float | None = None,
    dry_run: bool = False,
    rerun: str | None = None,
    order: str = "cost",
    observer: SweepObserver | None = None,
    address: str | None = None,
    hooks: Hooks | None = None,
) -> SweepResult:
    """Plan, run and store every cell of `study` that `ledger` has not seen the end of.

    `budget` is bytes a run may take beyond what an idle process takes, `time_budget` seconds for
    the whole; both win over the study's. A first SIGINT or SIGTERM lets current runs finish their
    epoch, a second ends them. Raises SpecError, DataError, LedgerError, MissingExtra.
    """
    if workers < 1:
        raise SpecError(f"--workers must be at least 1, got {workers}", "write --workers 1")
    given = {**(overrides or {}), **({"device.name": device} if device else {})}
    sweeping = _Sweep(
        study=study,
        overrides=given,
        ledger=Path(ledger),
        limits=_limits(study, budget),
        total_s=time_budget or _optional(parse_seconds, study.budget.total),
        rerun=again(rerun),
        order=order,
        observer=observer or SweepObserver(),
        hooks=hooks or Hooks(),
        threads=threads_each(workers),
        on_this_machine=plugins.load("executors", executor).shares_memory,
    )
    expanded = expand(study, given) if study.search is None or dry_run else []
    check_final(study, given, expanded)
    cells = [sweeping.placed(cell) for cell in expanded]
    if sweeping.on_this_machine:
        sweeping.hooks.check_device([cell.spec for cell in cells])
    if dry_run:
        return sweeping.only_plan(cells)
    return sweeping.go(cells, _executor(executor, workers, address))


def _limits(study: StudySpec, budget: int | None) -> Limits:
    return Limits(
        memory_bytes=budget or _optional(parse_bytes, study.budget.memory),
        time_s=_optional(parse_seconds, study.budget.time),
    )


def _optional(parse: Callable[[str], Any], text: str | None) -> Any:
    return None if text is None else parse(text)


def _executor(name: str, workers: int, address: str | None) -> Executor:
    options: dict[str, Any] = {"workers": workers, "threads": threads_each(workers)}
    if address is not None:
        if "address" not in plugins.options("executors", name):
            raise SpecError(f"the executor {name!r} takes no address", "write --executor cluster")
        options["address"] = address
    return plugins.made("executors", name, **options)


def _searching(study: StudySpec, overrides: Mapping[str, Any]) -> tuple[Any, Any]:
    """The loop of a search and the search itself. Raises MissingExtra without Optuna."""
    try:
        from scalelab.studies.search import Search
        from scalelab.sweeping.search_loop import search_cells
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "optuna":
            raise
        message = f"{study.name}: [search] needs the package 'optuna'"
        raise MissingExtra(message, 'pip install "scalelab[search]"') from error
    return search_cells, Search(study, overrides)


@dataclass(kw_only=True)
class _Sweep:
    """What stays the same from the first cell of a sweep to its last."""

    study: StudySpec
    overrides: dict[str, Any]
    ledger: Path
    limits: Limits
    total_s: float | None
    rerun: frozenset[Outcome]
    order: str
    observer: SweepObserver
    hooks: Hooks
    threads: int
    on_this_machine: bool
    jobs: dict[str, Job] = field(default_factory=dict)
    _opened: bool = False

    @property
    def study_id(self) -> str:
        """The same for the same question, so that typing it again goes on with it."""
        asked = json.dumps([self._asked(), self.overrides], sort_keys=True)
        return f"{self.study.name}-{hashlib.blake2b(asked.encode(), digest_size=4).hexdigest()}"

    def placed(self, cell: Cell) -> Cell:
        """The cell with a device in place of `auto`. Raises SpecError for a cluster."""
        if cell.spec.device.name != "auto":
            return cell
        if not self.on_this_machine:
            message = 'device.name = "auto" is the device of one machine, and a cluster has many'
            raise SpecError(message, "write --device cuda or --device cpu")
        return replace(cell, spec=self.hooks.on_this_machine(cell.spec))

    def only_plan(self, cells: Sequence[Cell]) -> SweepResult:
        """What would run; nothing is written."""
        attempts = Ledger(self.ledger).attempts() if self.ledger.exists() else {}
        self._plan(self._planner(attempts), cells)
        self.observer.on_end()
        return self._result({}, interrupted=False)

    def go(self, cells: Sequence[Cell], executor: Executor) -> SweepResult:
        """Run what is due."""
        ledger = Ledger.create_or_open(self.ledger)
        keep = self.ledger.with_name(self.ledger.name + ".checkpoints")
        with listening() as stops, ledger.writing() as writer:
            ledger.add_study(self.study_id, self.study.name, self._toml(), utc_now())
            planner = self._planner(ledger.attempts())
            driver = Driver(
                executor=executor,
                writer=writer,
                observer=self.observer,
                stops=stops,
                study_id=self.study_id,
                limits=self.limits,
                keep=keep,
                total_s=self.total_s,
                rule=MedianRule() if self.study.prune == "median" else None,
                gpus=self.hooks.gpus,
            )
            if executor.blocking:
                stops.at_once = lambda count: executor.stop(now=count > 1)
            try:
                if self.study.search is None:
                    self._grid(driver, planner, executor, cells)
                else:
                    self._search(driver, planner, executor, ledger, writer)
                if self.study.final is not None and not (stops.count or driver.num_late):
                    writer.flush()
                    tried = {key: job.cell for key, job in self.jobs.items()}
                    more = best_cells(self.study.final, tried, ledger)
                    self._grid(driver, planner, executor, more)
            except KeyboardInterrupt:
                driver.abandon()
            finally:
                executor.close()
                if keep.is_dir() and not any(keep.iterdir()):
                    keep.rmdir()
        self.observer.on_end()
        return self._result(driver.outcomes, interrupted=stops.count > 0)

    def _grid(
        self, driver: Driver, planner: Planner, executor: Executor, cells: Sequence[Cell]
    ) -> None:
        jobs = self._plan(planner, cells)
        self._open(executor, driver, jobs)
        driver.add(jobs)
        driver.run()

    def _search(
        self,
        driver: Driver,
        planner: Planner,
        executor: Executor,
        ledger: Ledger,
        writer: LedgerWriter,
    ) -> None:
        def enter(asked: Cell) -> Job:
            cell = self.placed(asked)
            new = self._plan(planner, [cell])
            self._open(executor, driver, new)
            driver.add(new)
            return self.jobs[planner.jobs([cell])[0].fingerprint]

        search_cells, search = _searching(self.study, self.overrides)
        search_cells(search, driver, ledger, writer, enter)

    def _open(self, executor: Executor, driver: Driver, jobs: Sequence[Job]) -> None:
        """Get the executor ready when there is a first run for it."""
        if self._opened or not any(job.due for job in jobs):
            return
        names = self.hooks.modules([job.cell.spec for job in jobs])
        executor.open(self.hooks.run, driver.on_progress, driver.on_record, driver.on_lost, names)
        self._opened = True

    def _planner(self, attempts: Mapping[str, Attempt]) -> Planner:
        return Planner(
            attempts=attempts,
            rerun=self.rerun,
            fingerprint=self.hooks.fingerprint,
            forecast=self._forecast,
        )

    def _plan(self, planner: Planner, cells: Sequence[Cell]) -> list[Job]:
        """Jobs for the cells that are new to this sweep; the observer sees all that are known."""
        jobs = in_order(planner.jobs(cells), self.order)
        new = {job.fingerprint: job for job in jobs if job.fingerprint not in self.jobs}
        self.jobs |= new
        device = cells[0].spec.device.name if cells else "cpu"
        planned = tuple(job.planned for job in self.jobs.values())
        self.observer.on_plan(self.study.name, device, planned)
        return list(new.values())

    def _forecast(self, specs: Sequence[RunSpec]) -> Sequence[Forecast | None]:
        if len(specs) >= _MANY:
            self.observer.on_message(f"predicting {len(specs)} configurations")
        # The scratch of products depends on the threads that a run will have.
        each = [s if s.device.threads else s.with_({"device.threads": self.threads}) for s in specs]
        found, remarks = self.hooks.forecast(each, self.limits.memory_bytes)
        for remark in remarks:
            self.observer.on_message(remark)
        return found

    def _result(self, outcomes: Mapping[str, Outcome], *, interrupted: bool) -> SweepResult:
        counts = Counter(
            str(outcomes.get(fingerprint) or job.before or "waiting")
            for fingerprint, job in self.jobs.items()
        )
        return SweepResult(
            study_id=self.study_id,
            ledger=self.ledger,
            counts=dict(counts),
            cells=tuple(job.planned for job in self.jobs.values()),
            interrupted=interrupted,
        )

    def _asked(self) -> dict[str, Any]:
        # The base by its name: where it lies on this machine is no part of the question.
        tables = self.study.model_dump(mode="json", exclude_none=True)
        return {**tables, "base": Path(self.study.base).stem}

    def _toml(self) -> str:
        """The study as TOML, the overrides of this time at its end."""
        return toml_of({**self._asked(), "overrides": self.overrides})
