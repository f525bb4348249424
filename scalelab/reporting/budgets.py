"""Draw the limits of a run that a study gives: its memory and its time."""

import tomllib

import altair as alt
import pyarrow as pa

from scalelab.core.errors import SpecError
from scalelab.core.units import format_bytes, format_seconds, parse_bytes, parse_seconds
from scalelab.reporting import axes, theme
from scalelab.store.ledger import Ledger

__all__ = ["budget_layers", "budgets_of"]

_STUDIES = "SELECT spec_toml FROM studies WHERE $study IS NULL OR study_id = $study"


def budgets_of(ledger: Ledger, study: str | None) -> dict[str, float]:
    """Bytes (`memory`) and seconds (`time`) that a run may take, if all studies give the same."""
    found: dict[str, set[float | None]] = {"memory": set(), "time": set()}
    for row in ledger.query(_STUDIES, {"study": study}).to_pylist():
        try:
            budget = tomllib.loads(row["spec_toml"]).get("budget", {})
            memory, time = budget.get("memory"), budget.get("time")
            found["memory"].add(None if memory is None else parse_bytes(memory))
            found["time"].add(None if time is None else parse_seconds(time))
        except (tomllib.TOMLDecodeError, SpecError):
            return {}  # a study that nobody can read gives no limit that could be drawn
    return {
        name: value
        for name, values in found.items()
        if len(values) == 1 and (value := next(iter(values))) is not None
    }


def budget_layers(
    chart_data: theme.ChartData, rows: pa.Table, *, column: str, cost: str, across: alt.Scale
) -> list[alt.Chart]:
    """A line at the limit, with its value; words alone where it lies beyond the axis."""
    budget = next(iter(theme.values(rows, column)), None)
    if budget is None:
        return []
    words = format_bytes(budget) if column == "budget_bytes" else format_seconds(budget)
    place = axes.position(across, budget)
    style = {"fontSize": 10, "color": "#B03A2E", "dy": 22}
    if place > 1:
        style["dy"] = -6
        one = chart_data.chart(rows.slice(0, 1)).mark_text(align="right", dx=-4, **style)
        text = alt.value(f"budget {words}, to the right")
        return [one.encode(x=alt.value("width"), y=alt.value("height"), text=text)]
    if place < 0:
        return []
    line = chart_data.chart(pa.table({cost: [float(budget)], "words": [f"budget {words}"]}))
    at = alt.X(f"{cost}:Q")
    align = "right" if place > 0.5 else "left"
    return [
        line.mark_rule(color="#B03A2E", strokeDash=[2, 3]).encode(x=at),
        line.mark_text(align=align, dx=-4 if place > 0.5 else 4, **style).encode(
            x=at, y=alt.value(0), text="words:N"
        ),
    ]
