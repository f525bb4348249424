"""Arrange the live view of a sweep so that it fits the terminal."""

import textwrap
from collections.abc import Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scalelab.cli.baselines_line import baselines_lines
from scalelab.cli.finished import name_of_metrics
from scalelab.cli.live import Snapshot
from scalelab.cli.output import clean
from scalelab.cli.panels import (
    COLOURS,
    finished_table,
    meters,
    pareto_table,
    running_table,
)
from scalelab.core.events import GpuMeter
from scalelab.core.units import format_seconds

__all__ = ["draw", "summary"]

_FULL = "\N{BOX DRAWINGS HEAVY HORIZONTAL}"
_EMPTY = "\N{BOX DRAWINGS LIGHT HORIZONTAL}"
_NAMES = {"before": "done before"}
# From this width on the runs stand beside the Pareto front, and not above it.
_TWO_COLUMNS = 150


def draw(
    snapshot: Snapshot,
    width: int,
    height: int,
    *,
    ascii_only: bool = False,
    gpus: Sequence[GpuMeter] = (),
    answer: str = "",
    keys: str = "",
) -> RenderableType:
    """At most `height` lines of at most `width` columns.

    `answer` is the answer so far, shown in place of the runs that have ended; `keys` says which
    keys do what.
    """
    if not snapshot.name:
        doing = snapshot.activity or "planning"
        return Text(f"{doing}, {_whole(snapshot.elapsed_s)}", style="bold", overflow="ellipsis")
    bar = _overall(snapshot, width, ascii_only)
    top: list[RenderableType] = [_header(snapshot), bar, _counts(snapshot, keys, width)]
    if snapshot.baselines:
        top += baselines_lines(snapshot.baselines, width)
    space = height - len(top)
    if gpus and space > len(gpus) + 8:
        top.append(meters(gpus))
        space -= len(gpus) + 1
    body = _Body(snapshot, ascii_only, answer)
    if width < _TWO_COLUMNS:
        return Group(
            *top, *body.all_of(("running", "pareto", "finished", "messages"), width, space)
        )
    half = (width - 3) // 2
    columns = Table.grid(padding=(0, 3, 0, 0))
    columns.add_column(width=half)
    columns.add_column(width=width - 3 - half)
    left = body.all_of(("running", "finished"), half, space - 1)
    right = body.all_of(("pareto", "messages"), width - 3 - half, space - 1)
    columns.add_row(Group(*left), Group(*right))
    return Group(*top, Text(""), columns)


def summary(counts: dict[str, int]) -> str:
    """`10 done, 1 oom`: outcomes and how often, in a fixed order."""
    shown = [f"{counts[name]} {_NAMES.get(name, name)}" for name in COLOURS if counts.get(name)]
    return ", ".join(shown)


class _Body:
    """The parts below the header, each drawn with the number of lines that it is given."""

    def __init__(self, snapshot: Snapshot, ascii_only: bool, answer: str) -> None:
        self._now = snapshot
        self._ascii_only = ascii_only
        self._answer = answer

    def all_of(self, names: Sequence[str], width: int, space: int) -> list[RenderableType]:
        """The parts called `names`, from the top; those without content take no line."""
        lines_of_messages = self._message_lines(width)
        now = self._now
        wanted = {
            "running": len(now.running) and len(now.running) + 1,
            "pareto": len(now.pareto_front) and len(now.pareto_front) + 1,
            "finished": len(now.finished) and len(now.finished) + 1,
            "messages": len(lines_of_messages),
        }
        if self._answer and "messages" in names:  # the answer needs the lines
            wanted["finished"] = 0
        wanted = {name: wanted[name] for name in names}
        least = {"running": 5, "pareto": 5, "finished": 4, "messages": 2}
        most = {"running": space, "pareto": max(6, space // 3), "finished": space, "messages": 4}
        if self._answer:
            least["messages"] = most["messages"] = space - 4
        # Each gets its least; the lines that are left go to these in this order.
        given = {name: min(lines, least[name]) for name, lines in wanted.items()}
        spare = space - sum(given.values())
        for name in ("running", "pareto", "messages", "finished"):
            if name in given:
                more = max(0, min(spare, min(wanted[name], most[name]) - given[name]))
                given[name] += more
                spare -= more
        parts: list[RenderableType] = []
        for name in names:
            lines = min(given[name], space)
            if lines >= (1 if name == "messages" else 2):
                parts += self._part(name, width, lines, lines_of_messages)
                space -= lines
        return parts

    def _part(
        self, name: str, width: int, lines: int, lines_of_messages: Sequence[Text]
    ) -> Sequence[RenderableType]:
        now = self._now
        if name == "running":
            table = running_table(
                now.running, now.labels, width, lines, ascii_only=self._ascii_only
            )
            return [table]
        if name == "pareto":
            points, budgets = now.pareto_front, now.budgets
            metric = name_of_metrics(now.metrics)
            return [
                pareto_table(
                    points,
                    budgets=budgets,
                    labels=now.labels,
                    width=width,
                    lines=lines - 1,
                    metric=metric,
                )
            ]
        if name == "finished":
            return [finished_table(now.finished[-(lines - 1) :], now.labels, width)]
        return lines_of_messages[:lines] if self._answer else lines_of_messages[-lines:]

    def _message_lines(self, width: int) -> list[Text]:
        if self._answer:
            lines = [
                line
                for text in clean(self._answer).splitlines()
                for line in textwrap.wrap(text, width) or [""]
            ]
            return [Text(line, no_wrap=True) for line in lines]
        return [
            Text(clean(line), style="dim", no_wrap=True, overflow="ellipsis")
            for line in self._now.messages
        ]


def _header(snapshot: Snapshot) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(clean(snapshot.name), style="bold")
    where = f" on {clean(snapshot.device)}" if snapshot.device else ""
    text.append(f"{where}, {_whole(snapshot.elapsed_s)} elapsed")
    if snapshot.left is None:
        text.append(", remaining time unknown")
    elif snapshot.over < snapshot.total:
        low, high = snapshot.left
        clock = "%H:%M" if high < 12 * 3600 else "%a %H:%M"
        first, last = ((datetime.now() + timedelta(seconds=s)).strftime(clock) for s in (low, high))
        ends = first if first == last else f"{first} to {last}"
        about = _whole(low) if _whole(low) == _whole(high) else f"{_whole(low)} to {_whole(high)}"
        text.append(f", {about} left (ends {ends})")
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


def _counts(snapshot: Snapshot, keys: str, width: int) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for name, colour in COLOURS.items():
        if snapshot.counts.get(name):
            text.append(f"{snapshot.counts[name]} {_NAMES.get(name, name)}", style=colour)
            text.append(", ")
    waiting = snapshot.total - snapshot.over - len(snapshot.running)
    text.append(f"{len(snapshot.running)} running, {waiting} waiting")
    if snapshot.activity and not snapshot.running and waiting:
        text.append(f": {snapshot.activity}")
    space = width - len(text) - len(keys)
    if keys and space > 1:
        text.append(" " * space)
        text.append(keys, style="dim")
    return text


def _whole(seconds: float) -> str:
    return format_seconds(max(1, round(seconds)))
