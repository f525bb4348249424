"""Draw the quality of configurations against memory and time, with their Pareto fronts."""

import json
from collections import Counter
from dataclasses import dataclass
from typing import Annotated, Any

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from scalelab.core.dominance import BEST_FIRST
from scalelab.core.units import format_bytes, format_seconds
from scalelab.findings.differences import KEY, describe, key_of
from scalelab.findings.order import lost_in_words
from scalelab.findings.verdicts import baselines_of, verdicts_of
from scalelab.reporting import axes, bounds, theme
from scalelab.reporting.budgets import budget_layers, budgets_of
from scalelab.reporting.charts._options import Height, Metric, Study, Width
from scalelab.reporting.front_points import (
    ON_FRONT,
    names,
    number_widths,
    points,
)
from scalelab.reporting.front_sentence import front_sentence
from scalelab.reporting.quality import configurations_by, fronts_by, metric_of, note_on
from scalelab.reporting.selection import SHOWN, ids, not_shown
from scalelab.reporting.shared_parts import findings
from scalelab.reporting.views import PANEL_WIDTH
from scalelab.store.ledger import Ledger

__all__ = ["Pareto"]

_ROWS = f"""
SELECT {", ".join(KEY)}, dataset, model, loss,
    batch_size, max_len, hidden_dim, num_items, num_negatives, num_seeds, num_lost,
    valid_quality,
    test_quality, test_quality - test_quality_std AS test_low,
    test_quality + test_quality_std AS test_high, oracle_quality, peak_kind, peak_bytes,
    peak_bytes_std, train_s, spec::VARCHAR AS spec, num_compared,
    row_number() OVER (
        PARTITION BY {", ".join(KEY[1:])}, loss
        ORDER BY {BEST_FIRST}, peak_bytes, configuration
    ) = 1 AS is_best_of_loss
FROM (
    SELECT *, count(*) OVER (PARTITION BY {", ".join(KEY[1:])}) AS num_compared
    FROM {{configurations}}
    WHERE valid_quality IS NOT NULL AND test_quality IS NOT NULL
        AND peak_bytes IS NOT NULL AND train_s IS NOT NULL
        AND ($study IS NULL OR list_contains(study_ids, $study))
)
WHERE configuration IN ({SHOWN}) OR list_contains($more, configuration)
ORDER BY dataset, num_items, protocol, device, data_fingerprint, results_version,
    quality_metric, threads, peak_bytes, configuration
"""
_ADDED = {
    "comparison_order": pa.int64(),
    "comparison": pa.string(),
    "label": pa.string(),
    "usual": pa.string(),
    "on_memory_front": pa.bool_(),
    "on_time_front": pa.bool_(),
    "best_of_loss": pa.string(),
    "number": pa.int64(),
    "verdict": pa.string(),
    "baselines": pa.string(),
    "peak": pa.string(),
    "time": pa.string(),
    "budget_bytes": pa.int64(),
    "budget_s": pa.float64(),
    "metric": pa.string(),
}
_UNITS = {"peak_bytes": "byte", "train_s": "s"}
_TOOLTIP = (
    alt.Tooltip("label:N", title="configuration"),
    alt.Tooltip("number:N", title="number on the Pareto front"),
    alt.Tooltip("metric:N"),
    alt.Tooltip("test_quality:Q", title="test", format=".4f"),
    alt.Tooltip("valid_quality:Q", title="validation", format=".4f"),
    alt.Tooltip("num_seeds:Q", title="seeds (mean over them)"),
    alt.Tooltip("peak:N", title="training peak"),
    alt.Tooltip("time:N", title="training time"),
    alt.Tooltip("verdict:N", title="note"),
)


@dataclass(frozen=True, kw_only=True)
class Pareto:
    """Test quality of every configuration against its training peak and time.

    The Pareto fronts are chosen on validation. One row of panels for each data set, protocol and
    device: across those nothing is comparable. At most `max_comparisons` rows, those with most
    points.
    """

    metric: Metric = None
    study: Study = None
    max_comparisons: Annotated[
        int,
        Field(ge=1, description="most rows of panels, those with most points"),
    ] = 12
    width: Width = 430
    height: Height = 330

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row per configuration, with its comparison and whether it is on the Pareto fronts."""
        metric = metric_of(ledger, self.metric, self.study)
        fronts = fronts_by(ledger, metric)
        # Where there are very many, the page holds the Pareto fronts of the runs' own metric.
        more = [] if metric.is_usual else sorted({key[0] for front in fronts for key in front})
        sql = _ROWS.format(configurations=configurations_by(metric))
        table = ledger.query(sql, {"study": self.study, "more": more})
        rows = table.to_pylist()
        if not rows:
            return theme.with_columns(table.drop_columns(["spec"]), [], _ADDED)
        described = describe(rows)
        verdicts = verdicts_of(ledger, ids(rows))
        baselines = baselines_of(ledger, metric.key)
        budgets = budgets_of(ledger, self.study)
        orders: dict[tuple[Any, ...], int] = {}
        numbers: dict[int, int] = {}
        added = []
        for row in rows:
            key = key_of(row)
            order = orders.setdefault(key[1:], len(orders) + 1)
            on_memory, on_time = (key in front for front in fronts)
            is_on_one = on_memory or on_time
            numbers[order] = numbers.get(order, 0) + is_on_one
            found = baselines.get((row["data_fingerprint"], row["protocol"]), [])
            added.append(
                {
                    "comparison_order": order,
                    "comparison": f"{described[key].data}, {_machine(row)}",
                    "label": described[key].label,
                    "usual": described[key].usual,
                    "on_memory_front": on_memory,
                    "on_time_front": on_time,
                    "best_of_loss": row["loss"] if row["is_best_of_loss"] else None,
                    "number": numbers[order] if is_on_one else None,
                    "verdict": _joined(verdicts[key].words, lost_in_words(row)),
                    "peak": format_bytes(row["peak_bytes"]),
                    "time": format_seconds(row["train_s"]),
                    "budget_bytes": budgets.get("memory"),
                    "budget_s": budgets.get("time"),
                    "metric": metric.title,
                    "baselines": json.dumps({b.words: b.test for b in found if b.test is not None}),
                }
            )
        return theme.with_columns(table.drop_columns(["spec"]), added, _ADDED)

    def finding(self, rows: pa.Table) -> str:
        """What the ends of the Pareto front of memory are, in each comparison that is drawn."""
        groups: dict[str, list[dict[str, Any]]] = {}
        kept, _ = self._drawn(rows)
        for row in rows.to_pylist():
            if row["comparison_order"] in kept:
                groups.setdefault(row["comparison"], []).append(row)
        return findings({name: front_sentence(group) for name, group in groups.items()})

    def draw(self, rows: pa.Table) -> alt.Chart:
        """For each comparison a panel of memory, one of time, and the configurations by number."""
        title = "Quality against memory and time"
        if not rows.num_rows:
            shown = self.metric or "a quality"
            return theme.nothing_to_show(title, f"no finished runs with {shown} on validation")
        chart_data = theme.ChartData()
        kept, num_left_out = self._drawn(rows)
        panels = [
            self._comparison(chart_data, rows.filter(pc.field("comparison_order") == order))
            for order in kept
        ]
        subtitle = [
            "a point is one configuration, mean over its seeds; vertical line: their spread"
        ]
        subtitle.append("joined: Pareto front, chosen on validation, numbered where it fits")
        if theme.values(rows, "verdict"):
            subtitle.append(
                "hollow: ended at a baseline, below one, while still rising, or lost seeds"
            )
        if num_left_out:
            subtitle.append(f"{num_left_out} smaller comparisons are left out")
        subtitle += not_shown(rows)
        subtitle += [*note_on(rows, metric=self.metric, study=self.study), *theme.unnamed(rows)]
        heading = alt.TitleParams(title, subtitle=subtitle, offset=14)
        return theme.themed(alt.vconcat(*panels, title=heading, spacing=36), chart_data)

    def _drawn(self, rows: pa.Table) -> tuple[list[int], int]:
        """The comparisons that are drawn, those with most points, and how many are left out."""
        sizes = Counter(rows["comparison_order"].to_pylist())
        kept = sorted(sorted(sizes, key=lambda order: -sizes[order])[: self.max_comparisons])
        return kept, len(sizes) - len(kept)

    def _comparison(self, chart_data: theme.ChartData, rows: pa.Table) -> alt.VConcatChart:
        kind = rows["peak_kind"][0].as_py()
        up = axes.quality_axis(bounds.heights(rows), f"test {rows['metric'][0].as_py()}")
        titles = {"peak_bytes": f"training peak ({kind})", "train_s": "training time"}
        across = {
            cost: axes.axis_of(theme.numbers(rows, cost), title, unit=_UNITS[cost])
            for cost, title in titles.items()
        }
        data = rows.to_pylist()
        for cost, axis in across.items():
            widths = number_widths(
                data,
                cost=cost,
                across=axis["scale"],
                up=up["scale"],
                height=self.height,
            )
            rows = rows.append_column(f"{cost}_number_from", pa.array(widths, pa.float64()))
        panels = alt.hconcat(
            *(
                self._panel(chart_data, rows, cost=cost, across=axis, up=up)
                for cost, axis in across.items()
            ),
            spacing=28,
        )
        heading = alt.TitleParams(rows["comparison"][0].as_py(), fontSize=12, offset=10)
        listed = self._list(chart_data, rows.filter(pc.field("number").is_valid()))
        return alt.vconcat(panels, listed, title=heading, spacing=14)

    def _panel(
        self,
        chart_data: theme.ChartData,
        rows: pa.Table,
        *,
        cost: str,
        across: dict[str, Any],
        up: dict[str, Any],
    ) -> Any:
        base = chart_data.chart(rows).encode(
            x=alt.X(f"{cost}:Q", **across), y=alt.Y("test_quality:Q", **up)
        )
        colour = theme.loss_color(theme.values(rows, "loss"))
        line = (
            base.transform_filter(f"datum.{ON_FRONT[cost]}")
            .mark_line(interpolate="step-after", color="#555555", strokeWidth=1.2)
            .encode(order=alt.Order(f"{cost}:Q"))
        )
        spread = base.mark_rule(strokeWidth=1.2).encode(
            y=alt.Y("test_low:Q"), y2="test_high:Q", color=colour
        )
        lines, levels = bounds.draw(chart_data, rows, up), bounds.levels(rows, up)
        named = names(
            chart_data,
            rows,
            cost=cost,
            across=across["scale"],
            up=up["scale"],
            size=(self.width, self.height),
            lines=levels,
        )
        budget = "budget_bytes" if cost == "peak_bytes" else "budget_s"
        lines += budget_layers(chart_data, rows, column=budget, cost=cost, across=across["scale"])
        width = alt.param(name=PANEL_WIDTH, value=self.width)
        return (
            alt.layer(*lines, line, spread, *named, *points(base, rows, cost, _TOOLTIP))
            .properties(width=self.width, height=self.height)
            .add_params(width)
        )

    def _list(self, chart_data: theme.ChartData, rows: pa.Table) -> Any:
        """The configurations of the two Pareto fronts, by number."""
        columns = {
            "number": [str(row["number"]) for row in rows.to_pylist()],
            "label": rows["label"].to_pylist(),
            "quality": [f"{value:.4f}" for value in rows["test_quality"].to_pylist()],
            "memory": [format_bytes(value) for value in rows["peak_bytes"].to_pylist()],
            "time": [format_seconds(value) for value in rows["train_s"].to_pylist()],
        }
        if theme.values(rows, "verdict"):
            columns["verdict"] = [value or "" for value in rows["verdict"].to_pylist()]
        return theme.text_table(
            chart_data,
            columns,
            {
                "number": "no.",
                "label": "Pareto front",
                "quality": f"test {rows['metric'][0].as_py()}" if rows.num_rows else "",
                "verdict": "note",
            },
            widths=(30, 380, 95, 75, 75, 300)[: len(columns)],
        )


def _joined(*notes: str) -> str | None:
    return "; ".join(note for note in notes if note) or None


def _machine(row: dict[str, Any]) -> str:
    number = row["threads"]
    threads = "" if number is None else f", {number} thread{'s' * (number != 1)}"
    return f"{row['device'] or 'unknown device'}{threads}"
