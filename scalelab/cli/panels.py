"""Draw the parts of the live view: runs, the Pareto front and the GPUs."""

from collections.abc import Sequence
from functools import lru_cache

from rich.console import RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from scalelab.cli.finished import Finished, name_of_metrics, short_note, without_seed
from scalelab.cli.live import Running
from scalelab.cli.names import readable, short_names
from scalelab.cli.output import clean
from scalelab.cli.pareto_front import Point
from scalelab.core.events import GpuMeter
from scalelab.core.units import format_bytes, format_seconds

__all__ = [
    "COLOURS",
    "best_under",
    "finished_table",
    "meters",
    "pareto_table",
    "running_table",
    "sparkline",
]

COLOURS = {
    "done": "green",
    "before": "green dim",
    "oom": "yellow",
    "timeout": "yellow",
    "pruned": "cyan",
    "skipped": "blue",
    "diverged": "red",
    "failed": "red",
    "interrupted": "magenta",
}
_LEVELS = "".join(chr(code) for code in range(0x2581, 0x2589))
_ASCII_LEVELS = "_.-~=+*#"
_SPARK = 8
# From these widths of a table on more columns fit.
_WITH_BAR, _WITH_PHASE = 94, 112


def sparkline(values: Sequence[float], width: int = _SPARK, *, ascii_only: bool = False) -> str:
    """The last `width` values as characters of a height between their least and their greatest."""
    shown = list(values)[-width:]
    if len(shown) < 2:
        return ""
    levels = _ASCII_LEVELS if ascii_only else _LEVELS
    low, high = min(shown), max(shown)
    span = high - low
    return "".join(
        levels[round((value - low) / span * (len(levels) - 1)) if span else 0] for value in shown
    )


def running_table(
    runs: tuple[Running, ...],
    labels: tuple[str, ...],
    width: int,
    lines: int,
    *,
    ascii_only: bool = False,
) -> Table:
    """The runs in progress; memory is beside its share of the budget, or of the prediction."""
    fixed = [
        Column("epoch", justify="right", width=7 if width >= _WITH_BAR else 5),
        Column(_metric_head(runs), justify="right", width=6),
        Column("", width=_SPARK),
        Column("memory", justify="right", width=8),
        Column("", justify="right", width=4),
    ]
    if width >= _WITH_BAR:
        fixed[4:5] = [Column("of limit", width=8), Column("tok/s", justify="right", width=6)]
    if width >= _WITH_PHASE:
        fixed.append(Column("phase", width=9))
    names = _Names(labels, width, fixed)
    table = _table(Column("running", ratio=1), *fixed)
    shown = runs if len(runs) < lines else runs[: lines - 2]
    for run in shown:
        table.add_row(names.of(run.label), *_running_cells(run, width, ascii_only))
    if len(shown) < len(runs):
        table.add_row(f"... and {len(runs) - len(shown)} more")
    return table


def _metric_head(runs: Sequence[Running]) -> str:
    """The validation metric by which all these runs choose an epoch, without its cut-off."""
    keys = {run.progress.metric_key for run in runs if run.progress is not None}
    name = keys.pop().partition("@")[0].upper() if len(keys) == 1 else "valid"
    return name if len(name) <= 6 else "valid"


def _running_cells(run: Running, width: int, ascii_only: bool) -> list[RenderableType]:
    progress = run.progress
    if progress is None:
        return ["...", Text("starting", style="dim")]
    used, limit = progress.used_bytes, run.limit_bytes
    metric = progress.metric if progress.metric is not None else progress.best_metric
    epochs = f"{progress.epoch}/{progress.epochs}"
    known = used is not None and limit
    cells: list[RenderableType] = [
        epochs if len(epochs) <= (7 if width >= _WITH_BAR else 5) else str(progress.epoch),
        _quality(metric),
        Text(sparkline(run.curve, ascii_only=ascii_only), style="cyan"),
        format_bytes(used) if used is not None else "",
    ]
    if width < _WITH_BAR:
        cells.append(f"{100 * (used or 0) / (limit or 1):.0f}%" if known else "")
    else:
        cells.append(ProgressBar(total=limit or 1, completed=used or 0, width=8) if known else "")
        cells.append(_count(progress.tokens_per_s))
    if width >= _WITH_PHASE:
        cells.append(progress.phase)
    return cells


def finished_table(runs: tuple[Finished, ...], labels: tuple[str, ...], width: int) -> Table:
    """The runs that have ended, the last one last; where one has no quality, its outcome."""
    fixed = [
        Column("valid", justify="right", width=6),
        Column("test", justify="right", width=6),
        Column("peak", justify="right", width=8),
        Column("train", justify="right", width=7),
    ]
    # A note or an outcome other than done is shown in one word.
    has_words = any(run.note or run.outcome.value != "done" for run in runs)
    if has_words:
        fixed.append(Column("", width=11 if width >= _WITH_BAR else 8))
    names = _Names(labels, width, fixed)
    name = name_of_metrics(run.metric for run in runs)
    table = _table(Column(f"last finished: {name}" if runs else "last finished", ratio=1), *fixed)
    for run in runs:
        outcome = run.outcome.value
        word = short_note(run.note) if outcome == "done" else outcome
        colour = "yellow" if outcome == "done" else COLOURS.get(outcome, "")
        table.add_row(
            names.of(run.label),
            _quality(run.valid),
            _quality(run.test),
            format_bytes(run.peak_bytes) if run.peak_bytes is not None else "",
            _time(run.train_s),
            *([Text(word, style=colour)] if has_words else []),
        )
    return table


def pareto_table(
    pareto_front: tuple[Point, ...],
    *,
    budgets: tuple[int, ...],
    labels: tuple[str, ...],
    width: int,
    lines: int,
    metric: str,
) -> Table:
    """The Pareto front by `metric` and memory, best first.

    Beside each row is the largest budget under which it is the best.
    """
    fixed = [
        Column("valid", justify="right", width=6),
        Column("test", justify="right", width=6),
        Column("peak", justify="right", width=8),
        Column("best under", justify="right", width=10),
    ]
    if width >= _WITH_BAR:
        fixed.insert(3, Column("train", justify="right", width=7))
    has_notes = any(point.note for point in pareto_front[:lines])
    if has_notes:
        fixed.append(Column("", width=8))
    seeds = {point.label: f" ({point.seeds} seeds)" for point in pareto_front if point.seeds > 1}
    space = width - max(map(len, seeds.values()), default=0)
    names = _Names(tuple(dict.fromkeys(map(without_seed, labels))), space, fixed)
    table = _table(Column(f"Pareto front: {metric} and memory", ratio=1), *fixed)
    for point in pareto_front[:lines]:
        under = best_under(point, pareto_front, budgets)
        name = names.of(point.label)
        name.append(seeds.get(point.label, ""))
        cells: list[RenderableType] = [
            _quality(point.valid),
            _quality(point.test),
            format_bytes(point.peak_bytes),
            format_bytes(max(under)) if under else "",
        ]
        if width >= _WITH_BAR:
            cells.insert(3, _time(point.train_s))
        if has_notes:
            cells.append(Text(short_note(point.note), style="yellow"))
        table.add_row(name, *cells)
    return table


def best_under(
    point: Point, pareto_front: tuple[Point, ...], budgets: tuple[int, ...]
) -> list[int]:
    """The budgets under which no other point of its own Pareto front has a better quality."""
    found: list[int] = []
    own = [other for other in pareto_front if other.comparison == point.comparison]
    for budget in budgets:
        fitting = [other for other in own if other.needed_bytes <= budget]
        if fitting and max(fitting, key=lambda other: other.valid) == point:
            found.append(budget)
    return found


def meters(gpus: Sequence[GpuMeter]) -> Table:
    """One line for each GPU: its memory, how busy it is, and its power."""
    table = _table(
        Column("GPU", ratio=1),
        Column("memory", width=10),
        Column("", justify="right", width=18),
        Column("busy", width=10),
        Column("", justify="right", width=4),
        Column("power", justify="right", width=6),
    )
    for gpu in gpus:
        used, busy, watts = gpu.used_bytes, gpu.busy_percent, gpu.watts
        table.add_row(
            Text(clean(gpu.name)),
            "" if used is None else ProgressBar(total=gpu.memory_bytes, completed=used, width=10),
            "" if used is None else f"{format_bytes(used)} of {format_bytes(gpu.memory_bytes)}",
            "" if busy is None else ProgressBar(total=100, completed=busy, width=10),
            "" if busy is None else f"{busy:.0f}%",
            "" if watts is None else f"{watts:.0f} W",
        )
    return table


class _Names:
    """Names of runs that fit beside the columns of fixed width."""

    def __init__(self, labels: tuple[str, ...], width: int, fixed: Sequence[Column]) -> None:
        taken = sum((column.width or 0) + 1 for column in fixed)
        self._names = _names(labels, max(8, width - taken))

    def of(self, label: str) -> Text:
        return Text(clean(self._names.get(label, readable(label))))


@lru_cache(maxsize=16)  # drawn several times a second, from the same labels
def _names(labels: tuple[str, ...], width: int) -> dict[str, str]:
    return short_names(labels, width)


def _table(*columns: Column) -> Table:
    """A table whose rows are one line each, whatever they hold."""
    for column in columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    return Table(
        *columns,
        box=None,
        expand=True,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        header_style="bold dim",
    )


def _quality(value: float | None) -> str:
    return f"{value:.4f}" if value is not None else ""


def _time(seconds: float | None) -> str:
    return format_seconds(seconds) if seconds is not None else ""


def _count(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value / 1000:.1f}k" if value < 1e6 else f"{value / 1e6:.2f}M"
