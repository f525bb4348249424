"""A finished sweep in, its results table, front and the next commands out."""

from typing import Any

from scalelab import api
from scalelab.cli.output import console, grid, note
from scalelab.core.units import format_bytes, format_seconds

__all__ = ["show_dry_run", "show_results"]


def show_dry_run(result: Any) -> None:
    """The cells with their predictions."""
    rows = [
        (
            cell.label,
            format_bytes(cell.predicted_bytes) if cell.predicted_bytes is not None else "",
            format_seconds(cell.predicted_s) if cell.predicted_s is not None else "",
            _plan_of(cell),
        )
        for cell in result.cells
    ]
    console().print(grid(("cell", "memory", "time", "would"), rows, right="memory time"))


def show_results(result: Any, *, quiet: bool) -> None:
    """Results, front, ledger, next commands."""
    note(f"ledger: {result.ledger}")


def _plan_of(cell: Any) -> str:
    if cell.finished_before:
        return "be kept: done before"
    return f"be skipped: {cell.skipped_because}" if cell.skipped_because else "run"


_ = api
