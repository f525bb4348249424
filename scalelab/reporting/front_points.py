"""Draw the points of a Pareto chart: which show their number, and where the losses are named."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pyarrow as pa

from scalelab.reporting import axes, theme
from scalelab.reporting.labels import Label, along_steps, place
from scalelab.reporting.views import PANEL_WIDTH, PRINTED

__all__ = ["ON_FRONT", "names", "number_widths", "points"]

# The column that says whether a configuration is on the Pareto front of this cost.
ON_FRONT = {"peak_bytes": "on_memory_front", "train_s": "on_time_front"}
# Points with numbers this far apart, in pixels, do not cover each other.
_APART = 15.0
_EDGE: dict[str, Any] = {"strokeWidth": 2.5, "strokeJoin": "round"}
Spot = tuple[float, float]
Row = Mapping[str, Any]


def number_widths(
    rows: Sequence[Row], *, cost: str, across: alt.Scale, up: alt.Scale, height: float
) -> list[float | None]:
    """For each row the least width of a panel, in pixels, at which its number is readable there.

    0 is any width; None is none, or a row that is not on the Pareto front. Of points that would
    cover each other the ends of the Pareto front come first, then the best of each loss, then the
    rest by their cost. A wider panel shows the numbers of a narrower one and more.
    """
    front = [place for place, row in enumerate(rows) if row[ON_FRONT[cost]]]
    front.sort(key=lambda place: (rows[place][cost], rows[place]["test_quality"]))
    ends = {front[0], front[-1]} if front else set()
    front.sort(key=lambda place: (place not in ends, rows[place]["best_of_loss"] is None))
    found: list[float | None] = [None] * len(rows)
    taken: list[tuple[Spot, float]] = []
    for at in front:
        x = axes.position(across, rows[at][cost])
        y = axes.position(up, rows[at]["test_quality"])
        least = 0.0
        for (other_x, other_y), shown_from in taken:
            if abs(y - other_y) * height >= _APART:
                continue
            free_from = _APART / abs(x - other_x) if x != other_x else float("inf")
            if free_from > shown_from:
                least = max(least, free_from)
        if least < float("inf"):
            found[at] = least
            taken.append(((x, y), least))
    return found


def points(
    base: alt.Chart, rows: pa.Table, cost: str, tooltip: Sequence[alt.Tooltip]
) -> list[alt.Chart]:
    """The points, and above them, which may lie close by, those with a number.

    `rows` has their `number_widths` in a column named after the cost.
    """
    losses = theme.values(rows, "loss")
    is_plain = "datum.verdict == null"
    inside = alt.condition(is_plain, theme.loss_fill(losses), alt.value("white"))
    all_points = base.mark_point(strokeWidth=1.6).encode(
        color=theme.loss_color(losses),
        fill=inside,
        shape=theme.loss_shape(losses),
        size=alt.value(80),
        opacity=alt.condition(f"datum.{ON_FRONT[cost]}", alt.value(1), alt.value(0.45)),
        tooltip=list(tooltip),
    )
    least = f"datum.{cost}_number_from"
    is_shown = f"{least} != null && {least} <= {PANEL_WIDTH}"
    text = base.transform_filter(is_shown).encode(text="number:N")
    letters: dict[str, Any] = {"fontSize": 9, "fontWeight": "bold"}
    edge = alt.condition(is_plain, theme.loss_stroke(losses), alt.value("white"))
    ink = alt.condition(is_plain, alt.value("white"), alt.value("black"))
    return [
        all_points,
        all_points.transform_filter(is_shown).encode(size=alt.value(190)),
        # Two digits are wider than a triangle: an edge around them keeps them readable.
        text.mark_text(**_EDGE, **letters).encode(stroke=edge),
        text.mark_text(**letters).encode(color=ink),
    ]


def names(
    chart_data: theme.ChartData,
    rows: pa.Table,
    *,
    cost: str,
    across: alt.Scale,
    up: alt.Scale,
    size: tuple[int, int],
    lines: Sequence[float] = (),
) -> list[alt.Chart]:
    """The name of each loss, at a free place near its best configuration.

    They are placed for a panel of this `size`. `lines` are qualities with a horizontal line, which
    names keep clear of.
    """
    width, height = size
    data = rows.to_pylist()
    spots = [
        (
            axes.position(across, row[cost]) * width,
            (1 - axes.position(up, row["test_quality"])) * height,
        )
        for row in data
    ]
    labels = [
        Label(text=row["best_of_loss"], x=x, y=y)
        for row, (x, y) in zip(data, spots, strict=True)
        if row["best_of_loss"] is not None
    ]
    corners = [spot for row, spot in zip(data, spots, strict=True) if row[ON_FRONT[cost]]]
    levels = [(1 - axes.position(up, line)) * height for line in lines]
    on_lines = [(n * 8.0, y) for y in levels for n in range(int(width / 8) + 1)]
    # The numbers of the Pareto front are what most needs to stay readable.
    obstacles = spots + 3 * corners + along_steps(corners) + on_lines
    placed = place(labels, obstacles, width, height)
    found = pa.table(
        {
            "loss": [label.text for label in placed],
            cost: [axes.value_at(across, (p.x + p.dx) / width) for p in placed],
            "test_quality": [axes.value_at(up, 1 - (p.y + p.dy) / height) for p in placed],
        }
    )
    at = chart_data.chart(found).encode(x=f"{cost}:Q", y="test_quality:Q", text="loss:N")
    name = theme.view_name(PRINTED, chart_data, found)
    letters: dict[str, Any] = {"fontSize": 11, "fontWeight": "bold"}
    return [
        at.properties(name=f"{name}_edge").mark_text(stroke="white", **_EDGE, **letters),
        at.properties(name=name)
        .mark_text(**letters)
        .encode(color=theme.loss_color(theme.values(rows, "loss"))),
    ]
