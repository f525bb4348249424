"""Draw the memory at the peak by component, one stacked bar per configuration."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import altair as alt
import pyarrow as pa
from pydantic import Field

from scalelab.core.units import format_bytes
from scalelab.reporting import theme
from scalelab.reporting.charts._options import Height, Stage, Study
from scalelab.store.ledger import Ledger

__all__ = ["Breakdown"]

_ROWS = """
WITH parts AS (
    SELECT runs.loss, runs.num_negatives, runs.num_items, runs.batch_size, runs.run_id,
        memory.component, memory.source, memory.bytes
    FROM runs JOIN memory ON memory.run_id = runs.run_id
    WHERE memory.stage = $stage AND memory.kind = 'requested' AND memory.component <> 'total'
        AND memory.bytes IS NOT NULL AND runs.num_items IS NOT NULL
        AND (runs.outcome = 'done' OR memory.source = 'predicted')
        AND ($source = 'both' OR memory.source = $source)
        AND ($study IS NULL OR runs.study_id = $study)
),
cells AS (
    SELECT loss, num_negatives, num_items, batch_size, source, component,
        (sum(bytes) / count(DISTINCT run_id))::BIGINT AS bytes, count(DISTINCT run_id) AS num_runs
    FROM parts
    GROUP BY ALL
)
SELECT
    concat_ws(', ', loss, CASE num_negatives WHEN 0 THEN NULL WHEN 1 THEN '1 negative'
        ELSE num_negatives || ' negatives' END) AS panel,
    *,
    sum(bytes) OVER bar AS total,
    row_number() OVER (bar ORDER BY component) = 1 AS first_of_bar
FROM cells
WINDOW bar AS (PARTITION BY loss, num_negatives, num_items, batch_size, source)
ORDER BY loss, num_negatives, num_items, batch_size, source, component
"""


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Which component takes the memory at the peak (Figure 2 of the RECE paper, finer).

    Runs of one cell are averaged. `source` = both sets predictions (pale) beside measurements.
    """

    study: Study = None
    stage: Stage = "train"
    source: Annotated[
        Literal["measured", "predicted", "both"],
        Field(description="which bytes are drawn"),
    ] = "both"
    height: Height = 200

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row for each loss, catalog size, batch size, source and component."""
        parameters = {"study": self.study, "stage": self.stage, "source": self.source}
        rows = ledger.query(_ROWS, parameters)
        places = {name: place for place, name in enumerate(theme.COMPONENTS)}
        order = [places.get(name, len(places)) for name in rows["component"].to_pylist()]
        labels = [format_bytes(total) for total in rows["total"].to_pylist()]
        rows = rows.append_column("component_order", pa.array(order, pa.int64()))
        return rows.append_column("total_label", pa.array(labels, pa.string()))

    def draw(self, rows: pa.Table) -> alt.Chart:
        """One row of panels a loss, one panel a catalog size, one bar a batch size and source."""
        title = "Memory at the training peak, by component"
        if self.stage == "eval":
            title = "Memory at the evaluation peak, by component"
        if not rows.num_rows:
            return theme.nothing_to_show(title)
        chart_data = theme.ChartData()
        data = rows.to_pylist()
        panels = [
            self._panel(
                chart_data,
                rows.filter(pa.array([row["panel"] == panel for row in data])),
                rows,
                panel,
            )
            for panel in dict.fromkeys(row["panel"] for row in data)
        ]
        both = len({row["source"] for row in data}) > 1
        subtitle = (
            "requested bytes; left measured, right (pale) predicted" if both else "requested bytes"
        )
        heading = alt.TitleParams(title, subtitle=subtitle, offset=14)
        sizes = len({row["num_items"] for row in data})
        # Few catalog sizes leave room for losses side by side.
        columns = max(1, 4 // sizes)
        return theme.themed(
            alt.concat(*panels, title=heading, spacing=22, columns=columns), chart_data
        )

    def _panel(
        self, chart_data: theme.ChartData, rows: pa.Table, all_rows: pa.Table, panel: str
    ) -> alt.HConcatChart:
        data = rows.to_pylist()
        parts = [
            self._bars(
                chart_data,
                pa.Table.from_pylist([r for r in data if r["num_items"] == n], rows.schema),
                all_rows,
                n,
            )
            for n in sorted({row["num_items"] for row in data})
        ]
        return alt.hconcat(*parts, title=alt.TitleParams(panel, fontSize=12, offset=8), spacing=18)

    def _bars(
        self, chart_data: theme.ChartData, rows: pa.Table, all_rows: pa.Table, num_items: int
    ) -> Any:
        sources = sorted(set(theme.values(all_rows, "source")))
        bar_width = 38 if len(sources) > 1 else 44
        totals = theme.numbers(rows, "total")
        up = theme.axis_of([1.06 * max(totals)], "peak", unit="byte", zero=True)
        base = chart_data.chart(rows).encode(
            x=alt.X("batch_size:O", title="batch size", axis=alt.Axis(labelAngle=0)),
            y=alt.Y(
                "bytes:Q",
                **up,
            ),
        )
        if len(sources) > 1:
            offset = alt.Scale(domain=["measured", "predicted"])
            base = base.encode(xOffset=alt.XOffset("source:N", scale=offset))
        pale = alt.Scale(domain=["measured", "predicted"], range=[1.0, 0.5])
        bars = base.mark_bar(size=bar_width).encode(
            color=theme.component_color(theme.values(all_rows, "component")),
            opacity=alt.Opacity("source:N", scale=pale, legend=None),
            order=alt.Order("component_order:Q"),
            tooltip=[
                alt.Tooltip("panel:N", title="loss"),
                alt.Tooltip("component:N"),
                alt.Tooltip("bytes:Q", format=","),
                alt.Tooltip("total:Q", format=","),
                alt.Tooltip("source:N"),
                alt.Tooltip("num_items:Q", format=","),
                alt.Tooltip("batch_size:Q"),
                alt.Tooltip("num_runs:Q", title="runs"),
            ],
        )
        names = base.transform_filter("datum.first_of_bar").mark_text(dy=-7, fontSize=9)
        names = names.encode(y=alt.Y("total:Q"), text="total_label:N")
        step = (bar_width + 4) * len(sources) + 14
        width = alt.Step(step, **{"for": "position"})
        heading = alt.TitleParams(f"{num_items:,} items", fontSize=11, fontWeight="normal")
        return alt.layer(bars, names).properties(title=heading, height=self.height, width=width)
