"""Draw the live view of a sweep so that it fits the terminal."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from scalelab.cli.finished import Finished, Reference, short_note
from scalelab.cli.live import Running, Snapshot
from scalelab.cli.output import clean
from scalelab.cli.pareto_front import Point
from scalelab.core.units import format_bytes, format_seconds

__all__ = ["COLOURS", "best_under", "draw", "pareto_table", "summary"]

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
_FULL = "\N{BOX DRAWINGS HEAVY HORIZONTAL}"
_EMPTY = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
_NAMES = {"before": "done before"}


def draw(
    snapshot: Snapshot, width: int, height: int, *, ascii_only: bool = False
) -> RenderableType:
    """At most `height` lines of at most `width` columns."""
    if not snapshot.name:
        return Text(f"planning, {_whole(snapshot.elapsed_s)}", style="bold")
    bar = _overall(snapshot, width, ascii_only)
    parts: list[RenderableType] = [_header(snapshot), bar, _counts(snapshot)]
    if snapshot.baselines:
        parts.append(_baselines(snapshot.baselines))
    space = height - len(parts)
    running, messages = len(snapshot.running), len(snapshot.messages)
    # Every part gets its smallest height; the remaining lines go to the parts in this order.
    wanted = {
        "messages": messages and messages,
        "running": running and running + 1,
        "pareto_front": len(snapshot.pareto_front) and len(snapshot.pareto_front) + 1,
        "finished": len(snapshot.finished) and len(snapshot.finished) + 1,
    }
    least = {"messages": 2, "running": 5, "pareto_front": 5, "finished": 4}
    most = {"messages": 4, "running": space, "pareto_front": max(6, space // 3), "finished": space}
    given = {name: min(lines, least[name]) for name, lines in wanted.items()}
    spare = space - sum(given.values())
    for name in ("running", "pareto_front", "messages", "finished"):
        more = max(0, min(spare, min(wanted[name], most[name]) - given[name]))
        given[name] += more
        spare -= more
    if running and space >= 2:
        parts.append(_running(snapshot.running, min(given["running"], space)))
        space -= min(given["running"], space)
    if snapshot.pareto_front and space >= 2:
        lines = min(given["pareto_front"], space)
        parts.append(pareto_table(snapshot.pareto_front, snapshot.budgets, lines - 1))
        space -= lines
    if snapshot.finished and space >= 2:
        lines = min(given["finished"], space)
        parts.append(_finished(snapshot.finished[-(lines - 1) :]))
        space -= lines
    if messages and space >= 1:
        shown = snapshot.messages[-min(given["messages"], space) :]
        parts += [
            Text(clean(line), style="dim", no_wrap=True, overflow="ellipsis") for line in shown
        ]
    return Group(*parts)


def summary(counts: dict[str, int]) -> str:
    """`10 done, 1 oom`: outcomes and how often, in a fixed order."""
    shown = [f"{counts[name]} {_NAMES.get(name, name)}" for name in COLOURS if counts.get(name)]
    return ", ".join(shown)


def best_under(
    point: Point, pareto_front: tuple[Point, ...], budgets: tuple[int, ...]
) -> list[int]:
    """The budgets under which no other point of the Pareto front has a better quality."""
    found: list[int] = []
    for budget in budgets:
        fitting = [other for other in pareto_front if other.peak_bytes <= budget]
        if fitting and max(fitting, key=lambda other: other.valid) == point:
            found.append(budget)
    return found


def pareto_table(pareto_front: tuple[Point, ...], budgets: tuple[int, ...], lines: int) -> Table:
    """The Pareto front, best first, with the largest budget under which each row is the best."""
    table = _table(
        Column("best under", width=10),
        Column("Pareto front: quality and memory", ratio=1),
        Column("valid", justify="right", width=6),
        Column("test", justify="right", width=6),
        Column("peak", justify="right", width=8),
        Column("train", justify="right", width=7),
    )
    has_notes = any(point.note for point in pareto_front[:lines])
    if has_notes:
        table.add_column("note", width=8, no_wrap=True, overflow="ellipsis")
    for point in pareto_front[:lines]:
        under = best_under(point, pareto_front, budgets)
        label = point.label + (f" ({point.seeds} seeds)" if point.seeds > 1 else "")
        table.add_row(
            format_bytes(max(under)) if under else "",
            Text(clean(label)),
            _quality(point.valid),
            _quality(point.test),
            format_bytes(point.peak_bytes),
            _time(point.train_s),
            *([Text(short_note(point.note), style="yellow")] if has_notes else []),
        )
    return table


def _header(snapshot: Snapshot) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(clean(snapshot.name), style="bold")
    where = f" on {clean(snapshot.device)}" if snapshot.device else ""
    text.append(f"{where}, {_whole(snapshot.elapsed_s)} elapsed")
    if snapshot.left_s is None:
        text.append(", remaining time unknown")
    elif snapshot.over < snapshot.total:
        end = datetime.now() + timedelta(seconds=snapshot.left_s)
        clock = "%H:%M" if snapshot.left_s < 12 * 3600 else "%a %H:%M"
        text.append(f", about {_whole(snapshot.left_s)} left (ends {end.strftime(clock)})")
    return text


def _overall(snapshot: Snapshot, width: int, ascii_only: bool) -> Table:
    """A bar with one part per outcome, then the number of runs that have ended."""
    count = f" {snapshot.over}/{snapshot.total}"
    cells = max(1, width - len(count))
    full, empty = ("#", "-") if ascii_only else (_FULL, _EMPTY)
    bar = Text(no_wrap=True)
    filled = 0
    over = 0
    for name, colour in COLOURS.items():
        over += snapshot.counts.get(name, 0)
        end = round(cells * over / max(1, snapshot.total))
        bar.append(full * (end - filled), style=colour)
        filled = end
    bar.append(empty * (cells - filled), style="dim")
    table = Table.grid(expand=True)
    table.add_column(ratio=1, no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_row(bar, count)
    return table


def _counts(snapshot: Snapshot) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for name, colour in COLOURS.items():
        if snapshot.counts.get(name):
            text.append(f"{snapshot.counts[name]} {_NAMES.get(name, name)}", style=colour)
            text.append(", ")
    waiting = snapshot.total - snapshot.over - len(snapshot.running)
    text.append(f"{len(snapshot.running)} running, {waiting} waiting")
    return text


def _baselines(found: Sequence[Reference]) -> Text:
    """One line with the rankings that every model must beat."""
    shown = [f"{clean(one.name)} {_quality(one.test)}" for one in found if one.test is not None]
    text = f"baselines, test NDCG@10: {', '.join(shown)}"
    return Text(text, style="dim", no_wrap=True, overflow="ellipsis")


def _running(runs: tuple[Running, ...], lines: int) -> Table:
    table = _table(
        Column("running", ratio=1),
        Column("phase", width=9),
        Column("epoch", justify="right", width=7),
        Column("NDCG@10", justify="right", width=7),
        Column("memory", width=6),
        Column("", justify="right", width=8),
        Column("tok/s", justify="right", width=6),
    )
    shown = runs if len(runs) < lines else runs[: lines - 2]
    for run in shown:
        table.add_row(*_running_row(run))
    if len(shown) < len(runs):
        table.add_row(f"... and {len(runs) - len(shown)} more")
    return table


def _running_row(run: Running) -> tuple[RenderableType, ...]:
    progress = run.progress
    if progress is None:
        return (Text(clean(run.label)), "starting", "", "", "", "", "")
    used, limit = progress.used_bytes, run.limit_bytes
    metric = progress.metric if progress.metric is not None else progress.best_metric
    bar = ProgressBar(total=limit, completed=used, width=6) if used and limit else ""
    return (
        Text(clean(run.label)),
        progress.phase,
        f"{progress.epoch}/{progress.epochs}" if progress.epochs < 10_000 else str(progress.epoch),
        _quality(metric),
        bar,
        format_bytes(used) if used is not None else "",
        _count(progress.tokens_per_s),
    )


def _finished(runs: tuple[Finished, ...]) -> Table:
    table = _table(
        Column("finished", ratio=1),
        Column("outcome", width=11),
        Column("valid", justify="right", width=6),
        Column("test", justify="right", width=6),
        Column("peak", justify="right", width=8),
        Column("train", justify="right", width=7),
    )
    has_notes = any(run.note for run in runs)
    if has_notes:
        table.add_column("note", width=8, no_wrap=True, overflow="ellipsis")
    for run in runs:
        table.add_row(
            Text(clean(run.label)),
            Text(run.outcome.value, style=COLOURS.get(run.outcome.value, "")),
            _quality(run.valid),
            _quality(run.test),
            format_bytes(run.peak_bytes) if run.peak_bytes is not None else "",
            _time(run.train_s),
            *([Text(short_note(run.note), style="yellow")] if has_notes else []),
        )
    return table


def _table(*columns: Column) -> Table:
    """A table whose rows are one line each, whatever they hold."""
    for column in columns:
        column.no_wrap, column.overflow = True, "ellipsis"
    return Table(*columns, box=None, expand=True, pad_edge=False, header_style="bold dim")


def _quality(value: float | None) -> str:
    return f"{value:.4f}" if value is not None else ""


def _time(seconds: float | None) -> str:
    return format_seconds(seconds) if seconds is not None else ""


def _whole(seconds: float) -> str:
    return format_seconds(max(1, round(seconds)))


def _count(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value / 1000:.1f}k" if value < 1e6 else f"{value / 1e6:.2f}M"
