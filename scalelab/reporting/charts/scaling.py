"""Draw how memory, time and quality change with one setting while all others are fixed."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import altair as alt
import pyarrow as pa
from pydantic import Field

from scalelab.reporting import theme
from scalelab.reporting.charts._options import Height, Study, Width
from scalelab.store.ledger import Ledger

__all__ = ["Scaling"]

_SETTINGS = ("num_items", "batch_size", "max_len", "hidden_dim", "num_negatives")
_By = Literal["auto", "num_items", "batch_size", "max_len", "hidden_dim", "num_negatives"]
_TITLES = {
    "num_items": "items in the catalog",
    "batch_size": "batch size (sequences)",
    "max_len": "length of a row",
    "hidden_dim": "hidden dimension",
    "num_negatives": "negatives",
}
_SPREADS = "SELECT {} FROM configurations WHERE $study IS NULL OR list_contains(study_ids, $study)"
_ROWS = """
SELECT
    coalesce(device, 'unknown device') AS device, dataset, model, loss, '{by}' AS setting,
    {by}::DOUBLE AS value, configuration, batch_size, num_negatives, num_items, num_seeds,
    valid_ndcg_10, test_ndcg_10, peak_kind, peak_bytes, train_s,
    row_number() OVER (PARTITION BY device, loss ORDER BY {by} DESC) = 1 AS last_of_loss
FROM configurations
WHERE {by} IS NOT NULL AND peak_bytes IS NOT NULL AND train_s IS NOT NULL
    AND ($study IS NULL OR list_contains(study_ids, $study))
QUALIFY row_number() OVER (
    PARTITION BY device, dataset, model, loss, {by}
    ORDER BY valid_ndcg_10 DESC NULLS LAST, peak_bytes, configuration
) = 1
ORDER BY device, dataset, model, loss, value
"""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How memory, time and test NDCG@10 grow with one setting: the best of each loss at each value.

    `by` = auto takes the first of catalog size, batch size, length, width, negatives that varies.
    """

    by: Annotated[
        Literal["auto", "num_items", "batch_size", "max_len", "hidden_dim", "num_negatives"],
        Field(description="setting on the horizontal axis; auto: the first of these that varies"),
    ] = "auto"
    study: Study = None
    width: Width = 290
    height: Height = 250

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row for each device, data set, model, loss and value of the setting."""
        by = self._setting(ledger) if self.by == "auto" else self.by
        return ledger.query(_ROWS.format(by=by), {"study": self.study})

    def _setting(self, ledger: Ledger) -> str:
        counts = ", ".join(f"count(DISTINCT {name}) AS {name}" for name in _SETTINGS)
        found = ledger.query(_SPREADS.format(counts), {"study": self.study}).to_pylist()[0]
        return next((name for name in _SETTINGS if found[name] > 1), _SETTINGS[0])

    def draw(self, rows: pa.Table) -> alt.Chart:
        """Three panels a device: training peak, training time, quality."""
        if not rows.num_rows:
            return theme.nothing_to_show("Growth with the catalog")
        chart_data = theme.ChartData()
        setting = rows["setting"][0].as_py()
        devices = rows["device"].to_pylist()
        panels = [
            self._panels(
                chart_data, rows.filter(pa.array([d == device for d in devices])), device, setting
            )
            for device in dict.fromkeys(devices)
        ]
        subtitle = "the best configuration of each loss on validation, at each value"
        heading = alt.TitleParams(f"Growth with {_TITLES[setting]}", subtitle=subtitle, offset=14)
        return theme.themed(alt.vconcat(*panels, title=heading, spacing=30), chart_data)

    def _panels(
        self, chart_data: theme.ChartData, rows: pa.Table, device: str, setting: str
    ) -> alt.HConcatChart:
        unit = "count" if setting == "num_items" else ""
        across = theme.axis_of(theme.numbers(rows, "value"), _TITLES[setting], unit=unit)
        kind = rows["peak_kind"][0].as_py()
        panels = [
            self._panel(chart_data, rows, across, "peak_bytes", "byte", f"training peak ({kind})"),
            self._panel(chart_data, rows, across, "train_s", "s", "training time"),
        ]
        if theme.numbers(rows, "test_ndcg_10"):
            panels.append(self._panel(chart_data, rows, across, "test_ndcg_10", "", "test NDCG@10"))
        return alt.hconcat(*panels, title=alt.TitleParams(device, fontSize=12, offset=8))

    def _panel(
        self,
        chart_data: theme.ChartData,
        rows: pa.Table,
        across: dict[str, Any],
        field: str,
        unit: str,
        title: str,
    ) -> Any:
        losses = theme.values(rows, "loss")
        log = None if unit else False
        up = theme.axis_of(theme.numbers(rows, field), title, unit=unit, log=log)
        base = chart_data.chart(rows).encode(
            x=alt.X("value:Q", **across),
            y=alt.Y(f"{field}:Q", **up),
            color=theme.loss_color(losses),
            detail=["dataset:N", "model:N"],
        )
        points = base.mark_point(filled=True, size=60).encode(
            shape=theme.loss_shape(losses),
            tooltip=[
                alt.Tooltip("loss:N"),
                alt.Tooltip("dataset:N"),
                alt.Tooltip("model:N"),
                alt.Tooltip("num_items:Q", format=","),
                alt.Tooltip("batch_size:Q"),
                alt.Tooltip("num_negatives:Q"),
                alt.Tooltip("num_seeds:Q", title="seeds"),
                alt.Tooltip("peak_bytes:Q", format=","),
                alt.Tooltip("train_s:Q", format=",.1f"),
                alt.Tooltip("test_ndcg_10:Q", format=".4f"),
            ],
        )
        return alt.layer(base.mark_line(strokeWidth=1.6), points).properties(
            width=self.width, height=self.height
        )
