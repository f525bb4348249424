"""Plan and run every configuration of a study and store the records in a ledger."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.events import SweepObserver
from scalelab.core.identity import RESULTS_VERSION
from scalelab.core.limits import Limits
from scalelab.core.notes import note_on_old_runs
from scalelab.core.records import Outcome
from scalelab.core.spec import RunSpec
from scalelab.core.study import StudySpec
from scalelab.core.units import parse_seconds
from scalelab.store.latest import old_runs
from scalelab.store.ledger import Attempt, Ledger
from scalelab.store.writer import LedgerWriter
from scalelab.studies.forecast import Forecast
from scalelab.studies.grid import Configuration, expand
from scalelab.studies.study_toml import as_toml, study_id
from scalelab.sweeping.choices import limits_of, made_executor, optional, search_functions
from scalelab.sweeping.driver import Driver
from scalelab.sweeping.final_seeds import best_configurations, check_final_seeds
from scalelab.sweeping.halving import check_halving, first_round, run_rounds
from scalelab.sweeping.hooks import Hooks
from scalelab.sweeping.jobs import Job, Planner, in_order, outcomes_to_rerun
from scalelab.sweeping.known_baselines import KnownBaselines, add_missing
from scalelab.sweeping.median_rule import MedianRule
from scalelab.sweeping.result import SweepResult
from scalelab.sweeping.shared_pretraining import counted_once
from scalelab.sweeping.signals import StopSignals, count_stop_signals
from scalelab.sweeping.start import Start
from scalelab.workers.fork_server import threads_each
from scalelab.workers.task import Executor, ExecutorDied, utc_now

__all__ = ["Hooks", "sweep"]

# With fewer configurations the predictions take no noticeable time.
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
    """Plan, run and store every configuration of `study` that is not finished in `ledger`.

    `budget` is bytes a run may take beyond what an idle process takes, `time_budget` seconds for
    the whole; both win over the study's. A first SIGINT or SIGTERM lets current runs finish their
    epoch, a second ends them. Raises SpecError, DataError, LedgerError, MissingExtra.
    """
    if workers < 1:
        raise SpecError(f"--workers must be at least 1, got {workers}", "write --workers 1")
    given = {**(overrides or {}), **({"device.name": device} if device else {})}
    sweeping = _Sweep(
        study=study,
        study_id=study_id(study, given),
        overrides=given,
        ledger=Path(ledger),
        limits=limits_of(study, budget),
        total_s=time_budget or optional(parse_seconds, study.budget.total),
        rerun=outcomes_to_rerun(rerun),
        order=order,
        observer=observer or SweepObserver(),
        hooks=hooks or Hooks(),
        threads=threads_each(workers),
        on_this_machine=plugins.load("executors", executor).shares_memory,
    )
    expanded = expand(study, given) if study.search is None or dry_run else []
    check_final_seeds(study, given, expanded)
    check_halving(study, given)
    configurations = [sweeping.with_device(configuration) for configuration in expanded]
    if sweeping.on_this_machine:
        sweeping.hooks.check_device([configuration.spec for configuration in configurations])
    if dry_run:
        return sweeping.plan_only(configurations)
    return sweeping.run(configurations, made_executor(executor, workers, address))


@dataclass(kw_only=True)
class _Sweep:
    """The settings of one sweep, and the jobs that it has planned."""

    study: StudySpec
    study_id: str
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
    baselines: KnownBaselines = field(default_factory=KnownBaselines)
    jobs: dict[str, Job] = field(default_factory=dict)
    _pretrained: set[Path] = field(default_factory=set[Path])
    _start: Start | None = None
    _old_runs: Mapping[int | None, int] = field(default_factory=dict[int | None, int])

    def with_device(self, configuration: Configuration) -> Configuration:
        """The configuration with a device in place of `auto`. Raises SpecError on a cluster."""
        if configuration.spec.device.name != "auto":
            return configuration
        if not self.on_this_machine:
            message = 'device.name = "auto" is a device of one machine; a cluster has several'
            raise SpecError(message, "write --device cuda or --device cpu")
        return replace(configuration, spec=self.hooks.on_this_machine(configuration.spec))

    def plan_only(self, configurations: Sequence[Configuration]) -> SweepResult:
        """Plan without writing anything."""
        attempts: Mapping[str, Attempt] = {}
        if self.ledger.exists():
            attempts = Ledger(self.ledger).attempts()
            self._old_runs = old_runs(Ledger(self.ledger), self.study.name, RESULTS_VERSION)
        if self.study.halving is not None:
            configurations = first_round(self.study.halving, configurations)
            self.observer.on_message(f"this is round 1 of {len(self.study.halving.epochs)}")
        self._plan(self._planner(attempts), configurations)
        self.observer.on_end()
        return self._result({}, interrupted=False)

    def run(self, configurations: Sequence[Configuration], executor: Executor) -> SweepResult:
        """Run the configurations that are not finished, and those of `[final]`."""
        ledger = Ledger.create_or_open(self.ledger)
        checkpoint_root = self._checkpoint_root
        self._old_runs = old_runs(ledger, self.study.name, RESULTS_VERSION)
        with count_stop_signals() as stops, ledger.writing() as writer:
            toml = as_toml(self.study, self.overrides)
            ledger.add_study(self.study_id, self.study.name, toml, utc_now())
            planner = self._planner(ledger.attempts())
            self.baselines = KnownBaselines(ledger.baselines_known())
            driver = Driver(
                executor=executor,
                writer=writer,
                observer=self.observer,
                stops=stops,
                study_id=self.study_id,
                limits=self.limits,
                checkpoint_root=checkpoint_root,
                total_s=self.total_s,
                pruning=MedianRule() if self.study.prune == "median" else None,
                gpus=self.hooks.gpus,
                with_baselines=self.baselines,
            )
            self._start = start = Start(
                executor=executor, driver=driver, hooks=self.hooks, observer=self.observer
            )
            if executor.blocking:
                stops.on_signal = lambda count: executor.stop(now=count > 1)
            try:
                if self.study.halving is not None:

                    def run_round(these: Sequence[Configuration]) -> list[str] | None:
                        self._grid(start, stops, planner, these)
                        done = not (stops.count or driver.num_late)
                        return [job.fingerprint for job in planner.jobs(these)] if done else None

                    run_rounds(
                        self.study.halving,
                        configurations,
                        run_round=run_round,
                        ledger=ledger,
                        tell=self.observer.on_message,
                    )
                elif self.study.search is None:
                    self._grid(start, stops, planner, configurations)
                else:
                    self._search(start, planner, ledger, writer)
                if self.study.final is not None and not (stops.count or driver.num_late):
                    writer.flush()
                    tried = {key: job.configuration for key, job in self.jobs.items()}
                    more = best_configurations(self.study.final, tried, ledger)
                    self._grid(start, stops, planner, more)
            except KeyboardInterrupt:
                driver.abandon("stopped at once")
            except ExecutorDied as error:
                driver.abandon(error.message)
                raise
            finally:
                executor.close()
                if checkpoint_root.is_dir() and not any(checkpoint_root.iterdir()):
                    checkpoint_root.rmdir()
        self.observer.on_end()
        return self._result(driver.outcomes, interrupted=stops.count > 0)

    def _grid(
        self,
        start: Start,
        stops: StopSignals,
        planner: Planner,
        configurations: Sequence[Configuration],
    ) -> None:
        with stops.ending_at_once():  # nothing runs yet
            jobs = self._plan(planner, configurations)
            self._store_reused(planner, jobs)
            add_missing(jobs, self.baselines, Ledger(self.ledger), self.hooks.baselines)
        start.run(jobs)
        start.driver.run()

    def _store_reused(self, planner: Planner, jobs: Sequence[Job]) -> None:
        """Keep in the ledger which runs of other studies belong to this one too."""
        reused = [
            job.fingerprint
            for job in jobs
            if job.earlier_outcome is not None
            and planner.attempts[job.fingerprint].study_id != self.study_id
        ]
        if reused:
            Ledger(self.ledger).add_reused(self.study_id, reused)

    def _search(self, start: Start, planner: Planner, ledger: Ledger, writer: LedgerWriter) -> None:
        def plan_trial(proposed: Configuration) -> Job:
            configuration = self.with_device(proposed)
            new = self._plan(planner, [configuration])
            self._store_reused(planner, new)
            start.run(new)
            return self.jobs[planner.jobs([configuration])[0].fingerprint]

        run_search, search = search_functions(self.study, self.overrides)
        run_search(search, start.driver, ledger=ledger, writer=writer, plan_trial=plan_trial)

    @property
    def _checkpoint_root(self) -> Path:
        return self.ledger.with_name(self.ledger.name + ".checkpoints")

    def _planner(self, attempts: Mapping[str, Attempt]) -> Planner:
        return Planner(
            attempts=attempts,
            rerun=self.rerun,
            fingerprint=self.hooks.fingerprint,
            forecast=self._forecast,
        )

    def _plan(self, planner: Planner, configurations: Sequence[Configuration]) -> list[Job]:
        """Jobs for the configurations that are new to this sweep; the observer gets all jobs."""
        jobs = in_order(planner.jobs(configurations), self.order)
        jobs = counted_once(jobs, self._checkpoint_root, self._pretrained)
        new = {job.fingerprint: job for job in jobs if job.fingerprint not in self.jobs}
        self.jobs |= new
        device = configurations[0].spec.device.name if configurations else "cpu"
        planned = tuple(job.planned for job in self.jobs.values())
        self.observer.on_plan(self.study.name, device, planned)
        if self._old_runs and any(job.due for job in new.values()):
            old, self._old_runs = self._old_runs, {}
            self.observer.on_message(note_on_old_runs(old, RESULTS_VERSION))
        return list(new.values())

    def _forecast(self, specs: Sequence[RunSpec]) -> Sequence[Forecast | None]:
        number = "1 configuration" if len(specs) == 1 else f"{len(specs)} configurations"
        self.observer.on_activity(f"predicting memory and time of {number}")
        if len(specs) >= _MANY:
            self.observer.on_message(f"predicting {number}")
        if self._start is not None:
            self._start.open(specs)  # it imports while this process plans
        # The temporary memory of matrix products depends on the number of threads of the run.
        each = [s if s.device.threads else s.with_({"device.threads": self.threads}) for s in specs]
        found, remarks = self.hooks.forecast(each, self.limits.memory_bytes)
        for remark in remarks:
            self.observer.on_message(remark)
        return found

    def _result(self, outcomes: Mapping[str, Outcome], *, interrupted: bool) -> SweepResult:
        counts = Counter(
            str(outcomes.get(fingerprint) or job.earlier_outcome or "waiting")
            for fingerprint, job in self.jobs.items()
        )
        return SweepResult(
            study_id=self.study_id,
            ledger=self.ledger,
            counts=dict(counts),
            cells=tuple(job.planned for job in self.jobs.values()),
            interrupted=interrupted,
        )
