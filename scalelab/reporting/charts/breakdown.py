"""Peaks by component in, stacked bars against catalog and batch size out, one panel a loss."""

from dataclasses import dataclass
from typing import Literal

import altair as alt
import pyarrow as pa

from scalelab.reporting import theme
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
)
SELECT
    loss || CASE WHEN num_negatives > 0 THEN ', ' || num_negatives || ' negatives' ELSE '' END
        AS panel,
    loss, num_negatives, num_items, batch_size, source, component,
    round(sum(bytes) / count(DISTINCT run_id))::BIGINT AS bytes,
    count(DISTINCT run_id) AS num_runs
FROM parts
GROUP BY ALL
ORDER BY loss, num_negatives, num_items, batch_size, source, component
"""


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Which component takes the memory at the peak (Figure 2 of the RECE paper, finer).

    Runs of one cell are averaged. `source` = both sets predictions (pale) beside measurements.
    """

    study: str | None = None
    stage: Literal["train", "eval"] = "train"
    source: Literal["measured", "predicted", "both"] = "both"
    height: int = 200

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row for each loss, catalog size, batch size, source and component."""
        asked = {"study": self.study, "stage": self.stage, "source": self.source}
        return ledger.query(_ROWS, asked)

    def draw(self, rows: pa.Table) -> alt.Chart:
        """One row of panels a loss, one panel a catalog size, one bar a batch size and source."""
        title = "Memory at the training peak, by component"
        if self.stage == "eval":
            title = "Memory at the evaluation peak, by component"
        if not rows.num_rows:
            return theme.nothing_to_show(title)
        data = rows.to_pylist()
        places = {name: place for place, name in enumerate(theme.COMPONENTS)}
        order = [places.get(row["component"], len(places)) for row in data]
        rows = rows.append_column("component_order", pa.array(order, pa.int64()))
        panels = [
            self._panel(rows.filter(pa.array([row["panel"] == panel for row in data])), rows, panel)
            for panel in dict.fromkeys(row["panel"] for row in data)
        ]
        both = len({row["source"] for row in data}) > 1
        subtitle = (
            "requested bytes; left measured, right (pale) predicted" if both else "requested bytes"
        )
        heading = alt.TitleParams(title, subtitle=subtitle)
        return theme.themed(alt.vconcat(*panels, title=heading, spacing=22))

    def _panel(self, rows: pa.Table, all_rows: pa.Table, panel: str) -> alt.FacetChart:
        heights: dict[tuple[int, int, str], int] = {}
        for row in rows.to_pylist():
            bar = (row["num_items"], row["batch_size"], row["source"])
            heights[bar] = heights.get(bar, 0) + row["bytes"]
        sources = sorted(set(theme.values(all_rows, "source")))
        bar_width = 16 if len(sources) > 1 else 24
        bars = (
            alt.Chart(rows)
            .mark_bar(size=bar_width)
            .encode(
                x=alt.X("batch_size:O", title="batch size", axis=alt.Axis(labelAngle=0)),
                y=alt.Y("bytes:Q", **theme.byte_axis(list(heights.values()), "peak", zero=True)),
                color=theme.component_color(theme.values(all_rows, "component")),
                order=alt.Order("component_order:Q"),
                tooltip=[
                    alt.Tooltip("panel:N", title="loss"),
                    alt.Tooltip("component:N"),
                    alt.Tooltip("bytes:Q", format=","),
                    alt.Tooltip("source:N"),
                    alt.Tooltip("num_items:Q", format=","),
                    alt.Tooltip("batch_size:Q"),
                    alt.Tooltip("num_runs:Q", title="runs"),
                ],
            )
        )
        step = (bar_width + 4) * len(sources) + 14
        if len(sources) > 1:
            pale = alt.Scale(domain=["measured", "predicted"], range=[1.0, 0.45])
            bars = bars.encode(
                xOffset=alt.XOffset("source:N", scale=alt.Scale(domain=["measured", "predicted"])),
                opacity=alt.Opacity("source:N", scale=pale, title="source"),
            )
        header = alt.Header(labelExpr="format(datum.value, ',') + ' items'", labelPadding=2)
        column = alt.Column("num_items:O", title=None, header=header)
        sized = bars.properties(height=self.height, width=alt.Step(step, **{"for": "position"}))
        return sized.facet(column=column, title=alt.TitleParams(panel, fontSize=12), spacing=16)
