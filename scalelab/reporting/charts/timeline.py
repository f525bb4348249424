"""Draw the live bytes by component during one training step."""

from dataclasses import dataclass
from typing import Annotated

import altair as alt
import pyarrow as pa
from pydantic import Field

from scalelab.core.units import format_bytes, format_share
from scalelab.reporting import axes, theme
from scalelab.reporting.charts._options import Height, Study, Width
from scalelab.reporting.selection import OF_STUDY
from scalelab.store.ledger import Ledger

__all__ = ["Timeline"]

# Each bucket of events is shown by the one with most live bytes, so that the peak is never lost.
_ROWS = f"""
WITH chosen AS (
    SELECT run_id, model, loss, batch_size, num_items, started_at FROM runs
    WHERE ($run IS NULL OR run_id = $run) AND {OF_STUDY}
        AND run_id IN (SELECT run_id FROM timeline)
    ORDER BY peak_bytes DESC NULLS LAST, started_at DESC
    LIMIT 1
),
changes AS (SELECT timeline.* FROM timeline SEMI JOIN chosen USING (run_id)),
live AS (SELECT event, phase, sum(bytes) OVER (ORDER BY event) AS live_bytes FROM changes),
marked AS (
    SELECT *, coalesce((phase <> lag(phase) OVER (ORDER BY event))::INT, 0) AS turn,
        ntile($points) OVER (ORDER BY event) AS bucket
    FROM live
),
spans AS (SELECT *, sum(turn) OVER (ORDER BY event) AS span FROM marked),
shown AS (SELECT max_by(event, live_bytes) AS event FROM spans GROUP BY bucket, span),
by_component AS (
    SELECT shown.event, changes.component, sum(changes.bytes) AS bytes
    FROM shown JOIN (SELECT DISTINCT component FROM changes) AS names ON true
    JOIN changes ON changes.component = names.component AND changes.event <= shown.event
    GROUP BY ALL
)
SELECT
    chosen.* EXCLUDE (started_at), event, spans.phase, spans.span::BIGINT AS span, component,
    greatest(bytes, 0)::BIGINT AS bytes, live_bytes::BIGINT AS live_bytes,
    max(live_bytes) OVER ()::BIGINT AS peak_bytes
FROM by_component JOIN spans USING (event) CROSS JOIN chosen
ORDER BY event, component
"""


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """Live bytes through one training step, stacked by component.

    `run` chooses the run; without it, the run with a timeline and the largest peak. `points` bounds
    how many instants are drawn.
    """

    run: Annotated[
        str | None,
        Field(description="run_id; the run with the largest peak if left out"),
    ] = None
    study: Study = None
    points: Annotated[
        int,
        Field(ge=2, description="most instants drawn"),
    ] = 300
    width: Width = 860
    height: Height = 320

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row for each shown event and component: its live bytes after that event."""
        parameters = {"run": self.run, "study": self.study, "points": self.points}
        rows = ledger.query(_ROWS, parameters)
        places = {name: place for place, name in enumerate(theme.COMPONENTS)}
        order = [places.get(name, len(places)) for name in rows["component"].to_pylist()]
        return rows.append_column("component_order", pa.array(order, pa.int64()))

    def finding(self, rows: pa.Table) -> str:
        """In which phase the peak lies, and what takes most of it."""
        found = rows.to_pylist()
        if not found:
            return ""
        peak = found[0]["peak_bytes"]
        event = next(row["event"] for row in found if row["live_bytes"] == peak)
        at_peak = [row for row in found if row["event"] == event]
        large = max(at_peak, key=lambda row: row["bytes"])
        share = format_share(large["bytes"] / peak)
        return (
            f"The peak of the step, {format_bytes(peak)}, lies in the phase {large['phase']}: "
            f"{large['component'].replace('_', ' ')} takes {share} of it."
        )

    def draw(self, rows: pa.Table) -> alt.Chart:
        """Stacked steps over the events, borders and names of phases above, the peak as a line."""
        title = "Memory through one training step"
        if not rows.num_rows:
            return theme.nothing_to_show(title, "no finished runs with a timeline")
        chart_data = theme.ChartData()
        first = rows.slice(0, 1).to_pylist()[0]
        peak = first["peak_bytes"]
        across = alt.X(
            "event:Q", title="allocations and frees, in order", scale=alt.Scale(nice=False)
        )
        up = axes.axis_of([1.05 * peak], "live bytes (requested)", unit="byte", zero=True)
        base = chart_data.chart(rows)
        area = base.mark_area(interpolate="step-after").encode(
            x=across,
            y=alt.Y("bytes:Q", stack="zero", **up),
            color=theme.component_color(theme.values(rows, "component")),
            order=alt.Order("component_order:Q"),
            tooltip=["event:Q", "phase:N", "component:N", alt.Tooltip("bytes:Q", format=",")],
        )
        phases = base.transform_aggregate(
            start="min(event)", end="max(event)", groupby=["span", "phase"]
        )
        borders = phases.mark_rule(color="#555555", strokeDash=[3, 3]).encode(x="start:Q")
        events = theme.numbers(rows, "event")
        narrow = 0.05 * (max(events) - min(events))
        named = phases.transform_filter(f"datum.end - datum.start >= {narrow}")
        names = named.mark_text(align="left", dx=3, dy=-6, fontSize=11).encode(
            x="start:Q", y=alt.value(0), text="phase:N"
        )
        top = (
            chart_data.chart(rows.slice(0, 1))
            .mark_rule(color="#111111", strokeWidth=1)
            .encode(y=alt.Y("peak_bytes:Q"))
        )
        which = f"{first['model']}, {first['loss']}, batch {first['batch_size']}"
        catalog = "" if first["num_items"] is None else f", {first['num_items']:,} items"
        subtitle = f"{which}{catalog}; peak {format_bytes(peak)}; run {first['run_id']}"
        chart = alt.layer(area, borders, names, top).properties(
            width=self.width,
            height=self.height,
            title=alt.TitleParams(title, subtitle=subtitle, offset=18),
        )
        return theme.themed(chart, chart_data)
