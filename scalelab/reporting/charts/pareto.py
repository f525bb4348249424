"""Draw the quality of configurations against memory and time, with their Pareto fronts."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import altair as alt
import pyarrow as pa
from pydantic import Field

from scalelab.reporting import theme
from scalelab.reporting.charts._options import Height, Study, Width
from scalelab.reporting.labels import Label, place
from scalelab.store.ledger import Ledger

__all__ = ["Pareto"]

_ROWS = """
WITH labelled AS (
    SELECT *,
        dataset || ', ' || format('{:,}', num_items) || ' items, ' || protocol
            || coalesce(', ' || device, '') AS comparison,
        concat_ws(', ', loss,
            CASE num_negatives WHEN 0 THEN NULL WHEN 1 THEN '1 negative'
                ELSE num_negatives || ' negatives' END,
            CASE WHEN rounds IS NOT NULL THEN rounds || ' rounds' END,
            'batch ' || batch_size) AS label
    FROM configurations
    WHERE valid_ndcg_10 IS NOT NULL AND test_ndcg_10 IS NOT NULL
        AND peak_bytes IS NOT NULL AND train_s IS NOT NULL
        AND ($study IS NULL OR list_contains(study_ids, $study))
)
SELECT
    dense_rank() OVER (ORDER BY dataset, num_items, comparison, data_fingerprint)
        AS comparison_order,
    comparison, configuration, label, model, loss, batch_size, max_len, hidden_dim, num_items,
    num_negatives, rounds, n_buckets, n_chunks, num_seeds, valid_ndcg_10, test_ndcg_10,
    test_ndcg_10 - test_ndcg_10_std AS test_low, test_ndcg_10 + test_ndcg_10_std AS test_high,
    oracle_ndcg_10, peak_kind, peak_bytes, peak_bytes_std, train_s,
    configuration IN (SELECT configuration FROM pareto_memory p
        WHERE p.device IS NOT DISTINCT FROM labelled.device) AS on_memory_front,
    configuration IN (SELECT configuration FROM pareto_time p
        WHERE p.device IS NOT DISTINCT FROM labelled.device) AS on_time_front,
    CASE WHEN row_number() OVER (
        PARTITION BY comparison, data_fingerprint, loss ORDER BY valid_ndcg_10 DESC
    ) = 1 THEN loss END AS best_of_loss
FROM labelled
ORDER BY comparison_order, peak_bytes, configuration
"""
_HEIGHTS = ("test_ndcg_10", "test_low", "test_high")
_TOOLTIP = (
    alt.Tooltip("label:N", title="configuration"),
    alt.Tooltip("test_ndcg_10:Q", title="test NDCG@10", format=".4f"),
    alt.Tooltip("valid_ndcg_10:Q", title="validation NDCG@10", format=".4f"),
    alt.Tooltip("num_seeds:Q", title="seeds"),
    alt.Tooltip("peak_bytes:Q", title="peak bytes", format=","),
    alt.Tooltip("train_s:Q", title="training s", format=",.1f"),
    alt.Tooltip("model:N"),
    alt.Tooltip("num_items:Q", format=","),
    alt.Tooltip("max_len:Q"),
    alt.Tooltip("hidden_dim:Q"),
    alt.Tooltip("n_buckets:N"),
    alt.Tooltip("n_chunks:Q"),
    alt.Tooltip("configuration:N", title="id"),
)


@dataclass(frozen=True, kw_only=True)
class Pareto:
    """Test NDCG@10 of every configuration against its training peak and time.

    The Pareto fronts are chosen on validation. One row of panels for each data set, protocol and
    device: across those nothing is comparable. At most `max_comparisons` rows, those with most
    points.
    """

    study: Study = None
    max_comparisons: Annotated[
        int,
        Field(ge=1, description="most rows of panels, those with most points"),
    ] = 12
    width: Width = 430
    height: Height = 330

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row per configuration, with its comparison and whether it is on the Pareto fronts."""
        return ledger.query(_ROWS, {"study": self.study})

    def draw(self, rows: pa.Table) -> alt.Chart:
        """Two panels a comparison: memory, and time with points as large as their memory."""
        title = "Quality against memory and time"
        if not rows.num_rows:
            return theme.nothing_to_show(title)
        chart_data = theme.ChartData()
        data = rows.to_pylist()
        sizes: dict[int, int] = {}
        for row in data:
            sizes[row["comparison_order"]] = sizes.get(row["comparison_order"], 0) + 1
        kept = sorted(sorted(sizes, key=lambda order: -sizes[order])[: self.max_comparisons])
        panels = [
            self._comparison(chart_data, pa.Table.from_pylist(part, rows.schema))
            for order in kept
            if (part := [row for row in data if row["comparison_order"] == order])
        ]
        left_out = len(sizes) - len(kept)
        subtitle = "means over seeds; lines join what nothing beats on validation"
        subtitle += "; right, a larger point takes more memory"
        if left_out:
            subtitle += f"; {left_out} smaller comparisons left out"
        heading = alt.TitleParams(title, subtitle=subtitle, offset=14)
        return theme.themed(alt.vconcat(*panels, title=heading, spacing=36), chart_data)

    def _comparison(self, chart_data: theme.ChartData, rows: pa.Table) -> alt.HConcatChart:
        kind = rows["peak_kind"][0].as_py()
        size = alt.Size("peak_bytes:Q", scale=alt.Scale(range=[40, 700]), legend=None)
        left = self._panel(
            chart_data, rows, "peak_bytes", "byte", f"training peak ({kind})", alt.value(85)
        )
        right = self._panel(chart_data, rows, "train_s", "s", "training time", size)
        heading = alt.TitleParams(rows["comparison"][0].as_py(), fontSize=12, offset=10)
        return alt.hconcat(left, right, title=heading, spacing=28)

    def _panel(
        self,
        chart_data: theme.ChartData,
        rows: pa.Table,
        cost: str,
        unit: str,
        title: str,
        size: Any,
    ) -> Any:
        pareto_front = "on_memory_front" if cost == "peak_bytes" else "on_time_front"
        losses = theme.values(rows, "loss")
        across = theme.axis_of(theme.numbers(rows, cost), title, unit=unit)
        up = theme.axis_of(_heights(rows), "test NDCG@10", log=False)
        base = chart_data.chart(rows).encode(
            x=alt.X(f"{cost}:Q", **across), y=alt.Y("test_ndcg_10:Q", **up)
        )
        colour = theme.loss_color(losses)
        line = (
            base.transform_filter(f"datum.{pareto_front}")
            .mark_line(interpolate="step-after", color="#555555", strokeWidth=1.2)
            .encode(order=alt.Order(f"{cost}:Q"))
        )
        spread = base.mark_rule(strokeWidth=1.2).encode(
            y=alt.Y("test_low:Q"), y2="test_high:Q", color=colour
        )
        points = base.mark_point(filled=True, stroke="white", strokeWidth=0.6).encode(
            color=colour,
            shape=theme.loss_shape(losses),
            size=size,
            opacity=alt.condition(f"datum.{pareto_front}", alt.value(0.95), alt.value(0.4)),
            tooltip=list(_TOOLTIP),
        )
        names = self._names(rows, cost, pareto_front, across["scale"], up["scale"])
        named = (
            chart_data.chart(names)
            .mark_text(fontSize=11, fontWeight="bold")
            .encode(x=alt.X(f"{cost}:Q"), y="test_ndcg_10:Q", text="loss:N", color=colour)
        )
        layers = [line, spread, points, named]
        if theme.values(rows, "oracle_ndcg_10"):
            layers += _oracle(chart_data, rows, up)
        return alt.layer(*layers).properties(width=self.width, height=self.height)

    def _names(
        self, rows: pa.Table, cost: str, pareto_front: str, across: alt.Scale, up: alt.Scale
    ) -> pa.Table:
        """The name of each loss, at a free place near its best configuration."""
        data = rows.to_pylist()
        spots = [
            (
                theme.position(across, row[cost]) * self.width,
                (1 - theme.position(up, row["test_ndcg_10"])) * self.height,
            )
            for row in data
        ]
        labels = [
            Label(text=row["best_of_loss"], x=x, y=y)
            for row, (x, y) in zip(data, spots, strict=True)
            if row["best_of_loss"] is not None
        ]
        obstacles = spots + _steps(data, spots, pareto_front)
        placed = place(labels, obstacles, self.width, self.height)
        return pa.table(
            {
                "loss": [label.text for label in placed],
                cost: [theme.value_at(across, (p.x + p.dx) / self.width) for p in placed],
                "test_ndcg_10": [
                    theme.value_at(up, 1 - (p.y + p.dy) / self.height) for p in placed
                ],
            }
        )


def _steps(
    data: list[dict[str, Any]], spots: list[tuple[float, float]], pareto_front: str
) -> list[tuple[float, float]]:
    """Points along the line of the Pareto front, for words to keep clear of."""
    corners = sorted(spot for row, spot in zip(data, spots, strict=True) if row[pareto_front])
    found: list[tuple[float, float]] = []
    for (x0, y0), (x1, y1) in pairwise(corners):
        found += [(x0 + n * 8.0, y0) for n in range(int((x1 - x0) / 8) + 1)]
        found += [(x1, min(y0, y1) + n * 8.0) for n in range(int(abs(y1 - y0) / 8) + 1)]
    return found


def _heights(rows: pa.Table) -> list[float]:
    """What the quality axis must span: points, spreads, and the oracle if it is not far above."""
    found = [n for name in _HEIGHTS for n in theme.numbers(rows, name)]
    low, high = min(found, default=0.0), max(found, default=1.0)
    oracle = theme.numbers(rows, "oracle_ndcg_10")[:1]
    return [low, high, *(o for o in oracle if o <= high + (high - low))]


def _oracle(chart_data: theme.ChartData, rows: pa.Table, up: dict[str, Any]) -> list[alt.Chart]:
    """The bound that ranking by the true probabilities sets, known for synthetic data."""
    one = chart_data.chart(rows.slice(0, 1))
    bound = theme.numbers(rows, "oracle_ndcg_10")[0]
    text = one.mark_text(align="left", dx=4, dy=-6, fontSize=11, color="#333333")
    if theme.position(up["scale"], bound) > 1:
        above = f"the oracle is above, at {bound:.3g}"
        return [text.encode(x=alt.value(0), y=alt.value(0), text=alt.value(above))]
    y = alt.Y("oracle_ndcg_10:Q")
    rule = one.mark_rule(strokeDash=[5, 4], color="#333333").encode(y=y)
    return [rule, text.encode(x=alt.value(0), y=y, text=alt.value(f"oracle {bound:.3g}"))]
