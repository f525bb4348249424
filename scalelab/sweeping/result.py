"""Hold the result of a sweep: how many configurations ended with which outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from scalelab.core.events import Planned
from scalelab.core.records import Outcome

__all__ = ["SweepResult"]


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """Configurations by outcome; `waiting` counts those that have not run yet."""

    study_id: str
    ledger: Path
    counts: Mapping[str, int]
    cells: tuple[Planned, ...]
    interrupted: bool

    @property
    def exit_code(self) -> int:
        """130 if it was interrupted, 1 if a run failed or was killed from outside, else 0."""
        if self.interrupted:
            return 130
        return 1 if {Outcome.FAILED, Outcome.INTERRUPTED} & self.counts.keys() else 0
