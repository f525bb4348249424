"""Print the results of a finished sweep, its Pareto front and the next commands."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab import api
from scalelab.cli.answer import show_answer
from scalelab.cli.finished import (
    Finished,
    finished_of_row,
    name_of_metrics,
    notes_in_full,
    short_note,
    without_seed,
)
from scalelab.cli.names import readable
from scalelab.cli.output import console, grid, note, one_line, say
from scalelab.cli.panels import best_under
from scalelab.cli.pareto_front import ParetoFronts, Point, budgets_around
from scalelab.cli.screen import summary
from scalelab.core.events import Planned
from scalelab.core.figures import metric_name
from scalelab.core.identity import COMPARABLE
from scalelab.core.records import LOST, Outcome
from scalelab.core.units import format_bytes, format_range, format_seconds

if TYPE_CHECKING:
    from scalelab.api import Answer
    from scalelab.api_run import SweepResult

__all__ = ["as_document", "show_dry_run", "show_results"]

# The results of thousands of runs are read with a query, not in a terminal.
_MOST_ROWS = 50


def as_document(
    result: "SweepResult", *, dry_run: bool, answer: "Answer | None" = None
) -> dict[str, Any]:
    """The JSON document: the state of the study, each of its runs under `cells`, the answer."""
    rows = {} if dry_run else _rows(result)
    cells = [
        {
            "run_id": cell.run_id,
            "label": cell.label,
            "device": cell.device,
            "predicted_bytes": cell.predicted_bytes,
            "predicted_s": cell.predicted_s,
            "predicted_range_s": cell.predicted_range_s,
            "finished_before": cell.finished_before,
            "skipped_because": cell.skipped_because,
        }
        | rows.get(_fingerprint(cell), {})
        for cell in result.cells
    ]
    return {
        "study_id": result.study_id,
        "ledger": result.ledger,
        "counts": result.counts,
        "interrupted": result.interrupted,
        "cells": cells,
        "answer": answer,
    }


def show_dry_run(result: "SweepResult") -> None:
    """Print the planned runs with their predictions."""
    rows = [
        (
            readable(cell.label) or "base",
            _bytes(cell.predicted_bytes),
            _range(cell.predicted_range_s),
            _plan_of(cell),
        )
        for cell in result.cells
    ]
    console().print(grid(("configuration", "memory", "time", "action"), rows, right="memory time"))
    would_run = [cell for cell in result.cells if _would_run(cell)]
    ranges = [cell.predicted_range_s for cell in would_run if cell.predicted_range_s is not None]
    note(f"{len(would_run)} of {len(result.cells)} runs would start")
    if ranges:
        low, high = (sum(each[end] for each in ranges) for end in (0, 1))
        unknown = len(would_run) - len(ranges)
        more = f" and {unknown} without a prediction" if unknown else ""
        note(
            f"{format_range(low, high)} in total with one worker{more} (low: patience ends each "
            "run early, at the device's best speed; high: all epochs at its lowest)"
        )


def show_results(
    result: "SweepResult", budget_bytes: int | None, answer: "Answer | None" = None
) -> None:
    """Print the results, the Pareto front, the ledger's path, other commands and the answer."""
    rows = _rows(result)
    labels = {_fingerprint(cell): cell.label or "base" for cell in result.cells}
    found = [(rows[key], finished_of_row(labels[key], rows[key])) for key in labels if key in rows]
    found.sort(key=lambda pair: _rank(pair[1]))
    screen = console()
    if found:
        screen.print(_results_table([finished for _, finished in found[:_MOST_ROWS]]))
    if len(found) > _MOST_ROWS:
        screen.print(f"... and {len(found) - _MOST_ROWS} more (see: scalelab query)")
    places = {(row["data_fingerprint"], row["protocol"]) for row, _ in found}
    known = api.baselines(result.ledger) if found else []
    metrics = {finished.metric for _, finished in found}
    baselines = [
        one
        for one in known
        if (one["data_fingerprint"], one["protocol"]) in places and one["quality_metric"] in metrics
    ]
    _show_pareto_front(found, budget_bytes, baselines)
    for text in notes_in_full(finished.note for _, finished in found):
        say(text, wrap=True)
    for metric in sorted(metrics):
        oracle = {row["oracle_quality"] for row, one in found if one.metric == metric} - {None}
        if oracle:
            low, high = f"{min(oracle):.4f}", f"{max(oracle):.4f}"
            bound = low if low == high else f"{low} to {high}"
            screen.print(
                f"no model can expect more than {bound} in test {metric_name(metric)} "
                "(oracle: a ranking by the true probabilities)"
            )
    if found:
        for text in api.data_notes(result.ledger, places):
            say(text)
    say(f"{summary(dict(result.counts)) or 'no runs'}; ledger: {result.ledger}")
    ledger = shlex.quote(str(result.ledger))
    say(f"see:  scalelab report {ledger}")
    say(f'      scalelab query {ledger} "FROM pareto_memory"')
    counts = result.counts
    if result.interrupted or counts.get("waiting") or counts.get(Outcome.INTERRUPTED):
        say("some runs are missing: type the same command again to continue")
    if answer is not None:
        screen.print()
        show_answer(answer.text)


def _show_pareto_front(
    found: list[tuple[dict[str, Any], Finished]],
    budget_bytes: int | None,
    baselines: list[dict[str, Any]],
) -> None:
    pareto_fronts = ParetoFronts()
    for row, finished in found:
        if finished.outcome is Outcome.DONE:
            key = tuple(str(row[name]) for name in COMPARABLE)
            pareto_fronts.add(key, row["configuration"], without_seed(finished.label), finished)
        elif finished.outcome in LOST:
            pareto_fronts.lose(row["configuration"])
    points = pareto_fronts.points()
    if points:
        sizes = {row["data_fingerprint"]: row["num_items"] or 0 for row, _ in found}
        metric = name_of_metrics(finished.metric for _, finished in found)
        console().print(
            _pareto_table(
                points, metric=metric, budget_bytes=budget_bytes, baselines=baselines, sizes=sizes
            )
        )


def _rows(result: "SweepResult") -> dict[str, dict[str, Any]]:
    """The last attempt of each run in the ledger, by fingerprint."""
    if not Path(result.ledger).exists():
        return {}
    rows = api.results(result.ledger, [_fingerprint(cell) for cell in result.cells])
    return {row["fingerprint"]: row for row in rows}


def _fingerprint(cell: Planned) -> str:
    return cell.run_id.rpartition("-")[0]


def _results_table(runs: list[Finished]) -> Any:
    columns = ("run", "outcome", "metric", "valid", "test", "peak", "train", "note")
    rows = [
        (
            readable(run.label),
            run.outcome.value,
            metric_name(run.metric),
            _quality(run.valid),
            _quality(run.test),
            _bytes(run.peak_bytes),
            _seconds(run.train_s),
            one_line(run.error)[:120] if run.error else short_note(run.note),
        )
        for run in runs
    ]
    if not any(run.error or run.note for run in runs):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    if len({run.metric for run in runs}) == 1:
        columns, rows = (*columns[:2], *columns[3:]), [(*row[:2], *row[3:]) for row in rows]
    name = name_of_metrics(run.metric for run in runs)
    title = f"Results: {name} on validation and test, peak memory and time of training"
    return grid(columns, rows, title=title, right="valid test peak train")


def _pareto_table(
    points: tuple[Point, ...],
    *,
    metric: str,
    budget_bytes: int | None,
    baselines: list[dict[str, Any]],
    sizes: Mapping[str, int],
) -> Any:
    budgets = budgets_around(budget_bytes, points)
    rows = []
    for point in points:
        under = best_under(point, points, budgets)
        seeds = f" ({point.seeds} seeds)" if point.seeds > 1 else ""
        rows.append(
            (
                f"{readable(point.label)}{seeds}",
                _quality(point.valid),
                _quality(point.test),
                _bytes(point.peak_bytes),
                _seconds(point.train_s),
                ", ".join(format_bytes(budget) for budget in under),
                short_note(point.note),
            )
        )
    metrics = {one["quality_metric"] for one in baselines}
    named = len({one["dataset"] for one in baselines}) > 1
    several = len({one["data_fingerprint"] for one in baselines}) > 1
    for one in baselines:
        qualities = (_quality(one["valid_quality"]), _quality(one["test_quality"]))
        # Catalogs of different sizes may share the name of their data set.
        where = one["dataset"] if named else f"{sizes[one['data_fingerprint']]:,} items"
        name = f"baseline: {one['name'].replace('_', ' ')}" + (f" ({where})" if several else "")
        name += f" by {metric_name(one['quality_metric'])}" if len(metrics) > 1 else ""
        rows.append((name, *qualities, "", "", "", ""))
    columns = ("configuration", "valid", "test", "peak", "train", "best under", "note")
    if not any(point.note for point in points):
        columns, rows = columns[:-1], [row[:-1] for row in rows]
    title = (
        "Pareto front: configurations that no other beats in validation "
        f"{metric} and memory at once"
    )
    return grid(columns, rows, title=title, right="valid test peak train")


def _rank(one: Finished) -> tuple[str, bool, float]:
    """The best first, metric by metric; those without a quality last."""
    return one.metric, one.valid is None, -(one.valid or 0.0)


def _would_run(cell: Planned) -> bool:
    return not cell.finished_before and cell.skipped_because is None


def _plan_of(cell: Planned) -> str:
    if cell.finished_before:
        return "keep: done before"
    return f"skip: {cell.skipped_because}" if cell.skipped_because else "run"


def _quality(value: float | None) -> str:
    return f"{value:.4f}" if value is not None else ""


def _bytes(count: int | None) -> str:
    return format_bytes(count) if count is not None else ""


def _seconds(seconds: float | None) -> str:
    return format_seconds(seconds) if seconds is not None else ""


def _range(seconds: tuple[float, float] | None) -> str:
    return format_range(*seconds) if seconds is not None else ""
