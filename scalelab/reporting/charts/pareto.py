"""Configurations in, quality against memory and against time out, with what nothing beats as a line."""

from dataclasses import dataclass
from typing import Any

import altair as alt
import pyarrow as pa

from scalelab.reporting import theme
from scalelab.store.ledger import Ledger

__all__ = ["Pareto"]

_ROWS = """
WITH labelled AS (
    SELECT *,
        dataset || ', ' || format('{:,}', num_items) || ' items, ' || protocol
            || coalesce(', ' || device, '') AS comparison,
        concat_ws(', ', loss,
            CASE WHEN num_negatives > 0 THEN num_negatives || ' negatives' END,
            CASE WHEN rounds IS NOT NULL THEN rounds || ' rounds' END,
            'batch ' || batch_size) AS label
    FROM configurations
    WHERE valid_ndcg_10 IS NOT NULL AND peak_bytes IS NOT NULL AND train_s IS NOT NULL
        AND ($study IS NULL OR list_contains(study_ids, $study))
)
SELECT
    dense_rank() OVER (ORDER BY comparison, data_fingerprint) AS comparison_order,
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

    The fronts are chosen on validation. One row of panels for each data set, protocol and device:
    across those nothing may be compared. At most `max_comparisons` rows, those with most points.
    """

    study: str | None = None
    max_comparisons: int = 12
    width: int = 430
    height: int = 330

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row a configuration, with its place in the comparison and on the two fronts."""
        return ledger.query(_ROWS, {"study": self.study})

    def draw(self, rows: pa.Table) -> alt.Chart:
        """Two panels a comparison: memory, and time with points as large as their memory."""
        title = "Quality against memory and time"
        if not rows.num_rows:
            return theme.nothing_to_show(title)
        data = rows.to_pylist()
        sizes: dict[int, int] = {}
        for row in data:
            sizes[row["comparison_order"]] = sizes.get(row["comparison_order"], 0) + 1
        kept = sorted(sorted(sizes, key=lambda order: -sizes[order])[: self.max_comparisons])
        panels = [
            self._comparison(pa.Table.from_pylist(part, rows.schema))
            for order in kept
            if (part := [row for row in data if row["comparison_order"] == order])
        ]
        left_out = len(sizes) - len(kept)
        subtitle = "means over seeds; the line joins what nothing beats on validation"
        if left_out:
            subtitle += f"; {left_out} smaller comparisons left out"
        heading = alt.TitleParams(title, subtitle=subtitle)
        return theme.themed(alt.vconcat(*panels, title=heading, spacing=36))

    def _comparison(self, rows: pa.Table) -> alt.HConcatChart:
        kind = rows["peak_kind"][0].as_py()
        memory = alt.X(
            "peak_bytes:Q",
            **theme.byte_axis(theme.numbers(rows, "peak_bytes"), f"training peak ({kind})"),
        )
        seconds = theme.log_or_linear(theme.numbers(rows, "train_s"))
        time = alt.X(
            "train_s:Q", title="training time (s)", scale=seconds, axis=alt.Axis(tickCount=6)
        )
        size = alt.Size(
            "peak_bytes:Q",
            title="training peak",
            scale=alt.Scale(range=[25, 700]),
            legend=None,
        )
        left = self._panel(rows, memory, "on_memory_front", alt.value(80))
        right = self._panel(rows, time, "on_time_front", size)
        right = right.properties(title=alt.TitleParams("point area: training peak", fontSize=11))
        heading = alt.TitleParams(rows["comparison"][0].as_py(), fontSize=12, dy=-4)
        return alt.hconcat(left, right, title=heading, spacing=28)

    def _panel(self, rows: pa.Table, x: alt.X, front: str, size: Any) -> alt.LayerChart:
        losses = theme.values(rows, "loss")
        y = alt.Y("test_ndcg_10:Q", title="test NDCG@10", scale=alt.Scale(zero=False, padding=16))
        base = alt.Chart(rows).encode(x=x, y=y)
        colour = theme.loss_color(losses)
        line = (
            base.transform_filter(f"datum.{front}")
            .mark_line(interpolate="step-after", color="#555555", strokeWidth=1.2)
            .encode(order=alt.Order(x.to_dict()["field"], type="quantitative"))
        )
        spread = base.mark_rule(strokeWidth=1.2).encode(
            y=alt.Y("test_low:Q"), y2="test_high:Q", color=colour
        )
        points = base.mark_point(filled=True, stroke="white", strokeWidth=0.6).encode(
            color=colour,
            shape=theme.loss_shape(losses),
            size=size,
            opacity=alt.condition(f"datum.{front}", alt.value(0.95), alt.value(0.4)),
            tooltip=list(_TOOLTIP),
        )
        names = (
            base.transform_filter("datum.best_of_loss != null")
            .mark_text(dy=-12, fontSize=11, fontWeight="bold")
            .encode(text="best_of_loss:N", color=colour)
        )
        layers = [line, spread, points, names]
        if theme.values(rows, "oracle_ndcg_10"):
            layers += _oracle(rows)
        return alt.layer(*layers).properties(width=self.width, height=self.height)


def _oracle(rows: pa.Table) -> list[alt.Chart]:
    """The bound that ranking by the true probabilities sets, known for synthetic data."""
    one = rows.slice(0, 1)
    y = alt.Y("oracle_ndcg_10:Q")
    rule = alt.Chart(one).mark_rule(strokeDash=[5, 4], color="#333333").encode(y=y)
    text = (
        alt.Chart(one)
        .mark_text(align="left", dy=-6, dx=4, fontSize=11, color="#333333", text="oracle")
        .encode(y=y, x=alt.value(0))
    )
    return [rule, text]
