"""Decide which configurations of a study have to run, in which order, and which need not."""

import json
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from scalelab.core.errors import SpecError, nearest
from scalelab.core.events import Planned
from scalelab.core.records import Outcome
from scalelab.core.spec import DataSpec, RunSpec
from scalelab.store.ledger import Attempt
from scalelab.studies.forecast import Forecast
from scalelab.studies.grid import Cell

__all__ = ["ORDERS", "Job", "Planner", "again", "in_order"]

ORDERS = ("cost", "costly", "given", "random")
_AGAIN = {
    "failed": frozenset({Outcome.FAILED}),
    "oom": frozenset({Outcome.OOM}),
    "all": frozenset(Outcome),
}
_UNFINISHED = frozenset({Outcome.RUNNING, Outcome.INTERRUPTED})


@dataclass(frozen=True, kw_only=True)
class Job:
    """A cell, what the ledger knows of it and what it is expected to take."""

    cell: Cell
    fingerprint: str
    data_fingerprint: str
    attempt: int
    forecast: Forecast | None
    before: Outcome | None
    skipped_because: str | None

    @property
    def run_id(self) -> str:
        """One a fingerprint and attempt."""
        return f"{self.fingerprint}-{self.attempt}"

    @property
    def due(self) -> bool:
        """It has to run."""
        return self.before is None and self.skipped_because is None

    @property
    def planned(self) -> Planned:
        """The same for those who watch."""
        return Planned(
            run_id=self.run_id,
            label=self.cell.label,
            device=self.cell.spec.device.name,
            predicted_bytes=self.forecast.total_bytes if self.forecast else None,
            predicted_s=self.forecast.seconds if self.forecast else None,
            finished_before=self.before is not None,
            skipped_because=self.skipped_because,
        )


class Planner:
    """Turns cells into jobs; data fingerprints and forecasts are worked out once each."""

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

    def jobs(self, cells: Sequence[Cell]) -> list[Job]:
        """One job a cell, in the order given. Raises DataError where data cannot be found."""
        prints = [self._of_data(cell.spec.data) for cell in cells]
        fingerprints = [
            cell.spec.fingerprint(data) for cell, data in zip(cells, prints, strict=True)
        ]
        new = {
            # Seeds differ too: in what the largest step of their first epoch holds.
            fingerprint: cell.spec
            for cell, fingerprint in zip(cells, fingerprints, strict=True)
            if self._before(fingerprint) is None and fingerprint not in self._forecasts
        }
        if new:
            self._forecasts |= dict(zip(new, self._forecast(list(new.values())), strict=True))
        return [
            self._job(cell, fingerprint, data)
            for cell, fingerprint, data in zip(cells, fingerprints, prints, strict=True)
        ]

    def _job(self, cell: Cell, fingerprint: str, data: str) -> Job:
        forecast = self._forecasts.get(fingerprint)
        before = self._before(fingerprint)
        known = self.attempts.get(fingerprint)
        attempt = 1 if known is None else known.last_attempt + 1
        if known is not None and (before is not None or known.outcome is Outcome.SKIPPED):
            attempt = known.attempt  # what never ran leaves its place to what will
        too_large = forecast.too_large if forecast is not None else None
        return Job(
            cell=cell,
            fingerprint=fingerprint,
            data_fingerprint=data,
            attempt=attempt,
            forecast=forecast,
            before=before,
            skipped_because=None if before is not None else too_large,
        )

    def _before(self, fingerprint: str) -> Outcome | None:
        """How it ended, where that is to stay."""
        known = self.attempts.get(fingerprint)
        if known is None or known.outcome in _UNFINISHED or known.outcome in self._rerun:
            return None
        # Whether it fits depends on the budget of today.
        return None if known.outcome is Outcome.SKIPPED else known.outcome

    def _of_data(self, data: DataSpec) -> str:
        key = json.dumps(data.model_dump(mode="json"), sort_keys=True)
        if key not in self._data:
            self._data[key] = self._fingerprint(data)
        return self._data[key]


def again(rerun: str | None) -> frozenset[Outcome]:
    """The outcomes that `--rerun WORD` does not accept as final. Raises SpecError."""
    if rerun is None:
        return frozenset()
    if rerun not in _AGAIN:
        raise SpecError(f"--rerun takes no {rerun!r}", nearest(rerun, _AGAIN))
    return _AGAIN[rerun]


def in_order(jobs: Sequence[Job], order: str) -> list[Job]:
    """Jobs by `order`, yet every cell's first seed before any cell's second. Raises SpecError."""
    if order not in ORDERS:
        raise SpecError(f"no order called {order!r}", nearest(order, ORDERS))
    shuffled = list(jobs)
    if order == "random":
        random.Random(0).shuffle(shuffled)

    def cost(job: Job) -> float:
        seconds = job.forecast.seconds if job.forecast else None
        return 0.0 if seconds is None else seconds

    sign = {"cost": 1, "costly": -1}.get(order, 0)
    return sorted(shuffled, key=lambda job: (job.cell.repeat, sign * cost(job)))
