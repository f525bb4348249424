"""Hold the result of a sweep: how many configurations ended with which outcome."""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
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

    def _repr_html_(self) -> str:
        """A table of outcomes for notebooks, with the ledger and what to do next."""
        rows = "".join(
            f"<tr><th>{escape(outcome)}</th><td>{count}</td></tr>"
            for outcome, count in self.counts.items()
        )
        ledger = escape(repr(str(self.ledger)))
        ended = "Interrupted: call it again to go on. " if self.interrupted else ""
        return (
            f"<table><tr><th>outcome</th><th>runs</th></tr>{rows}</table>"
            f"<p>{ended}Next: <code>scalelab.report({ledger})</code></p>"
        )
