"""Decide which configurations of a study have to run, in which order, and which need not."""

import json
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from scalelab.core.errors import SpecError, nearest
from scalelab.core.events import Planned
from scalelab.core.records import UNFINISHED, Outcome
from scalelab.core.spec import DataSpec, RunSpec
from scalelab.store.ledger import Attempt
from scalelab.studies.forecast import Forecast
from scalelab.studies.grid import Configuration

__all__ = ["ORDERS", "Job", "Planner", "in_order", "outcomes_to_rerun"]

ORDERS = ("cost", "costly", "given", "random")
_RERUN = {
    "failed": frozenset({Outcome.FAILED}),
    "oom": frozenset({Outcome.OOM}),
    "all": frozenset(Outcome),
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """A configuration with its last outcome in the ledger and its prediction."""

    configuration: Configuration
    fingerprint: str
    data_fingerprint: str
    attempt: int
    forecast: Forecast | None
    earlier_outcome: Outcome | None
    skipped_because: str | None

    @property
    def run_id(self) -> str:
        """One per fingerprint and attempt."""
        return f"{self.fingerprint}-{self.attempt}"

    @property
    def due(self) -> bool:
        """Whether it has to run."""
        return self.earlier_outcome is None and self.skipped_because is None

    @property
    def planned(self) -> Planned:
        """What observers are given of it."""
        return Planned(
            run_id=self.run_id,
            label=self.configuration.label,
            device=self.configuration.spec.device.name,
            predicted_bytes=self.forecast.total_bytes if self.forecast else None,
            predicted_s=self.forecast.seconds if self.forecast else None,
            finished_before=self.earlier_outcome is not None,
            skipped_because=self.skipped_because,
            predicted_range_s=self.forecast.seconds_range if self.forecast else None,
        )


class Planner:
    """Turns configurations into jobs; each data set and configuration is looked at once."""

    def __init__(
        self,
        *,
        attempts: Mapping[str, Attempt],
        rerun: Collection[Outcome],
        fingerprint: Callable[[DataSpec], str],
        forecast: Callable[[Sequence[RunSpec]], Sequence[Forecast | None]],
    ) -> None:
        self.attempts = dict(attempts)
        self._rerun = rerun
        self._fingerprint = fingerprint
        self._forecast = forecast
        self._data: dict[str, str] = {}
        self._forecasts: dict[str, Forecast | None] = {}

    def jobs(self, configurations: Sequence[Configuration]) -> list[Job]:
        """One job per configuration, in the same order. Raises DataError for missing data."""
        data_prints = [self._of_data(configuration.spec.data) for configuration in configurations]
        fingerprints = [
            configuration.spec.fingerprint(data)
            for configuration, data in zip(configurations, data_prints, strict=True)
        ]
        new = {
            # Each seed has a prediction of its own: its batches, and so its largest step, differ.
            fingerprint: configuration.spec
            for configuration, fingerprint in zip(configurations, fingerprints, strict=True)
            if self._finished(fingerprint) is None and fingerprint not in self._forecasts
        }
        if new:
            self._forecasts |= dict(zip(new, self._forecast(list(new.values())), strict=True))
        return [
            self._job(configuration, fingerprint, data)
            for configuration, fingerprint, data in zip(
                configurations, fingerprints, data_prints, strict=True
            )
        ]

    def _job(self, configuration: Configuration, fingerprint: str, data: str) -> Job:
        forecast = self._forecasts.get(fingerprint)
        earlier = self._finished(fingerprint)
        known = self.attempts.get(fingerprint)
        attempt = 1 if known is None else known.last_attempt + 1
        if known is not None and (earlier is not None or known.outcome is Outcome.SKIPPED):
            attempt = known.attempt  # a skipped attempt never ran: the next one replaces its row
        too_large = forecast.too_large if forecast is not None else None
        return Job(
            configuration=configuration,
            fingerprint=fingerprint,
            data_fingerprint=data,
            attempt=attempt,
            forecast=forecast,
            earlier_outcome=earlier,
            skipped_because=None if earlier is not None else too_large,
        )

    def _finished(self, fingerprint: str) -> Outcome | None:
        """The outcome in the ledger, None where it has to run (again)."""
        known = self.attempts.get(fingerprint)
        if known is None or known.outcome in UNFINISHED or known.outcome in self._rerun:
            return None
        # Whether it fits depends on the budget, which may have changed.
        return None if known.outcome is Outcome.SKIPPED else known.outcome

    def _of_data(self, data: DataSpec) -> str:
        key = json.dumps(data.model_dump(mode="json"), sort_keys=True)
        if key not in self._data:
            self._data[key] = self._fingerprint(data)
        return self._data[key]


def outcomes_to_rerun(rerun: str | None) -> frozenset[Outcome]:
    """The outcomes that `--rerun WORD` runs again. Raises SpecError."""
    if rerun is None:
        return frozenset()
    if rerun not in _RERUN:
        raise SpecError(f"invalid --rerun: {rerun!r}", nearest(rerun, _RERUN))
    return _RERUN[rerun]


def in_order(jobs: Sequence[Job], order: str) -> list[Job]:
    """Jobs by `order`; all first seeds come before any second seed. Raises SpecError."""
    if order not in ORDERS:
        raise SpecError(f"invalid --order: {order!r}", nearest(order, ORDERS))
    shuffled = list(jobs)
    if order == "random":
        random.Random(0).shuffle(shuffled)

    def cost(job: Job) -> float:
        seconds = job.forecast.seconds if job.forecast else None
        return 0.0 if seconds is None else seconds

    sign = {"cost": 1, "costly": -1}.get(order, 0)
    return sorted(shuffled, key=lambda job: (job.configuration.repeat, sign * cost(job)))
