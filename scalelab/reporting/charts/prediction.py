"""Draw predicted against measured peaks."""

from dataclasses import dataclass
from statistics import median
from typing import Annotated

import altair as alt
import pyarrow as pa
from pydantic import Field

from scalelab.findings.differences import describe, key_of
from scalelab.findings.rounded import rounded
from scalelab.reporting import axes, theme
from scalelab.reporting.charts._options import Stage, Study, Width
from scalelab.store.ledger import Ledger

__all__ = ["Prediction"]

_ROWS = """
SELECT e.run_id, runs.configuration, runs.data_fingerprint, runs.protocol,
    coalesce(runs.device, 'unknown device') AS device, runs.results_version,
    runs.quality_metric, runs.threads,
    runs.dataset, runs.num_items, runs.loss, runs.seed, runs.spec::VARCHAR AS spec, e.kind,
    e.measured_bytes, e.predicted_bytes, 100 * e.error AS error_percent
FROM prediction_error AS e JOIN runs ON runs.run_id = e.run_id
WHERE component = 'total' AND stage = $stage AND measured_bytes > 0 AND predicted_bytes > 0
    AND ($study IS NULL OR e.study_id = $study)
QUALIFY row_number() OVER (ORDER BY abs(e.error) DESC, e.run_id) <= $most
ORDER BY kind, loss, e.run_id
"""


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Predicted against measured peaks, and the error in percent; at most the `most` worst."""

    study: Study = None
    stage: Stage = "train"
    most: Annotated[
        int,
        Field(ge=1, description="most runs drawn, the worst predicted ones"),
    ] = 2000
    size: Width = 320

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row a run and kind that was both predicted and measured."""
        parameters = {"study": self.study, "stage": self.stage, "most": self.most}
        table = ledger.query(_ROWS, parameters)
        described = describe(table.to_pylist())
        words = [described[key_of(row)] for row in table.to_pylist()]
        added = [{"data": one.data, "label": one.label, "usual": one.usual} for one in words]
        kinds = dict.fromkeys(("data", "label", "usual"), pa.string())
        return theme.with_columns(table.drop_columns(["spec"]), added, kinds)

    def finding(self, rows: pa.Table) -> str:
        """How far off predictions are, and where they are furthest off."""
        found = [row for row in rows.to_pylist() if row["error_percent"] is not None]
        if not found:
            return ""
        errors = [abs(row["error_percent"]) for row in found]
        worst = max(found, key=lambda row: abs(row["error_percent"]))
        return (
            f"The median error of {len(errors)} predicted peak{'s' * (len(errors) != 1)} is "
            f"{rounded(median(errors), 2)} %; the furthest off is {worst['label']} "
            f"({worst['kind']}), by {rounded(worst['error_percent'], 2, sign='+')} %."
        )

    def draw(self, rows: pa.Table) -> alt.Chart:
        """Left the two against each other with the line of equality, right the error by loss."""
        title = "Predicted against measured peaks"
        if not rows.num_rows:
            return theme.nothing_to_show(title, "no finished runs with a prediction")
        chart_data = theme.ChartData()
        kinds = rows["kind"].to_pylist()
        panels = [
            self._panels(chart_data, rows.filter(pa.array([k == kind for k in kinds])), kind)
            for kind in dict.fromkeys(kinds)
        ]
        errors = [abs(e) for e in theme.numbers(rows, "error_percent")]
        subtitle = [
            f"{len(errors)} peaks, each of one run",
            f"error: median {rounded(median(errors), 2)} %, largest {rounded(max(errors), 2)} %",
        ]
        subtitle += theme.unnamed(rows)
        heading = alt.TitleParams(title, subtitle=subtitle, offset=14)
        return theme.themed(alt.vconcat(*panels, title=heading, spacing=30), chart_data)

    def _panels(self, chart_data: theme.ChartData, rows: pa.Table, kind: str) -> alt.HConcatChart:
        both = theme.numbers(rows, "measured_bytes") + theme.numbers(rows, "predicted_bytes")
        losses = theme.values(rows, "loss")
        colour, shape = theme.loss_color(losses), theme.loss_shape(losses)
        tooltip = [
            alt.Tooltip("label:N", title="configuration"),
            alt.Tooltip("seed:Q"),
            alt.Tooltip("data:N"),
            alt.Tooltip("device:N"),
            alt.Tooltip("measured_bytes:Q", format=","),
            alt.Tooltip("predicted_bytes:Q", format=","),
            alt.Tooltip("error_percent:Q", format="+.3f"),
            alt.Tooltip("run_id:N"),
        ]
        points = (
            chart_data.chart(rows)
            .mark_point(filled=True, size=60, opacity=0.7)
            .encode(
                x=alt.X("measured_bytes:Q", **axes.axis_of(both, "measured", unit="byte")),
                y=alt.Y("predicted_bytes:Q", **axes.axis_of(both, "predicted", unit="byte")),
                color=colour,
                shape=shape,
                tooltip=tooltip,
            )
        )
        ends = pa.table({"measured_bytes": [min(both), max(both)]})
        equal = (
            chart_data.chart(ends)
            .mark_line(color="#777777", strokeDash=[4, 3], strokeWidth=1)
            .encode(x="measured_bytes:Q", y=alt.Y("measured_bytes:Q"))
        )
        left = alt.layer(equal, points).properties(width=self.size, height=self.size)
        errors = theme.numbers(rows, "error_percent")
        widest = 1.15 * max(*map(abs, errors), 0.5)
        error = alt.Y(
            "error_percent:Q",
            title="error (% of measured)",
            scale=alt.Scale(domain=[-widest, widest], nice=False),
        )
        strip = (
            chart_data.chart(rows)
            .transform_calculate(jitter="random() - 0.5")
            .mark_point(filled=True, size=50, opacity=0.7)
            .encode(
                x=alt.X("loss:N", title=None, axis=alt.Axis(labelAngle=-35)),
                y=error,
                xOffset=alt.XOffset("jitter:Q", scale=alt.Scale(domain=[-1, 1])),
                color=colour,
                shape=shape,
                tooltip=tooltip,
            )
        )
        one = chart_data.chart(rows.slice(0, 1))
        promised = one.mark_rect(color="#009E73", opacity=0.1).encode(
            y=alt.YDatum(-0.5), y2=alt.Y2Datum(0.5)
        )
        none = one.mark_rule(color="#777777").encode(y=alt.YDatum(0))
        right = alt.layer(promised, none, strip).properties(
            width=alt.Step(60, **{"for": "position"}),
            height=self.size,
            title=alt.TitleParams("green: within 0.5 %", fontSize=11, fontWeight="normal"),
        )
        return alt.hconcat(left, right, title=alt.TitleParams(kind, fontSize=12, offset=8))
