"""Draw the memory at the peak by component, one stacked bar per configuration."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from scalelab.core.dominance import BEST_FIRST
from scalelab.core.units import format_bytes, format_share
from scalelab.findings.differences import KEY, Key, describe, key_of
from scalelab.findings.rounded import times
from scalelab.reporting import axes, theme
from scalelab.reporting.charts._options import Stage, Study, Width
from scalelab.reporting.selection import OF_STUDY
from scalelab.reporting.shared_parts import findings
from scalelab.store.ledger import Ledger

__all__ = ["Breakdown"]

# A run that did not finish has a prediction all the same, so the last attempt is one per source.
_ROWS = f"""
WITH parts AS (
    SELECT runs.*, memory.component, memory.source, memory.bytes
    FROM runs JOIN memory ON memory.run_id = runs.run_id
    WHERE memory.stage = $stage AND memory.kind = 'requested' AND memory.component <> 'total'
        AND memory.bytes IS NOT NULL
        AND (runs.outcome = 'done' OR memory.source = 'predicted')
        AND ($source = 'both' OR memory.source = $source)
        AND {OF_STUDY}
),
latest AS (
    SELECT * FROM parts QUALIFY row_number() OVER (
        PARTITION BY fingerprint, device, source ORDER BY attempt DESC, started_at DESC, run_id DESC
    ) = 1
),
counted AS (
    SELECT run_id, source, count(*) OVER (
        PARTITION BY {", ".join(KEY)}, source
    ) AS num_seeds
    FROM latest
),
bars AS (
    SELECT {", ".join(KEY)}, any_value(run_id) AS run_id, source, num_seeds, component,
        round(sum(bytes) / num_seeds)::BIGINT AS bytes
    FROM parts JOIN counted USING (run_id, source)
    GROUP BY {", ".join(KEY)}, source, num_seeds, component
),
totals AS (
    SELECT *, sum(bytes) OVER (PARTITION BY {", ".join(KEY)}, source) AS total FROM bars
),
peaks AS (
    SELECT *, coalesce(
        max(total) FILTER (source = 'measured') OVER key, max(total) OVER key
    ) AS peak
    FROM totals WINDOW key AS (PARTITION BY {", ".join(KEY)})
),
-- The best of each loss come first, the second best then; without a result the smallest peaks.
ranked AS (
    SELECT {", ".join(KEY)}, row_number() OVER (
        PARTITION BY {", ".join(KEY[1:])}, loss ORDER BY {BEST_FIRST}, configuration
    ) AS turn
    FROM configurations WHERE valid_quality IS NOT NULL
),
places AS (
    SELECT peaks.* EXCLUDE (total, peak), dense_rank() OVER (
        ORDER BY turn NULLS LAST, peak, {", ".join(f"peaks.{name}" for name in KEY)}
    ) AS place
    FROM peaks LEFT JOIN ranked
        ON {" AND ".join(f"peaks.{name} IS NOT DISTINCT FROM ranked.{name}" for name in KEY)}
)
SELECT {", ".join(f"places.{name}" for name in KEY)}, dataset, num_items, loss, batch_size,
    spec::VARCHAR AS spec, source, num_seeds, component, places.bytes,
    (SELECT max(place) FROM places) AS num_bars
FROM places JOIN runs USING (run_id)
WHERE place <= $most
ORDER BY dataset, num_items, {", ".join(f"places.{name}" for name in KEY[1:])},
    places.configuration, source, component
"""
_ADDED = {
    "data": pa.string(),
    "label": pa.string(),
    "usual": pa.string(),
    "total": pa.int64(),
    "total_label": pa.string(),
    "named": pa.string(),
    "size": pa.string(),
    "is_mark": pa.bool_(),
    "component_order": pa.int64(),
    "bar_order": pa.int64(),
    "num_left_out": pa.int64(),
}
# Where peaks of data sets differ by more, the bars of the smaller would be too short to read.
_ONE_SCALE = 4
_STAGES = {"train": "training", "eval": "evaluation"}
_TOOLTIP = (
    alt.Tooltip("label:N", title="configuration"),
    alt.Tooltip("component:N"),
    alt.Tooltip("size:N", title="bytes"),
    alt.Tooltip("total_label:N", title="of"),
    alt.Tooltip("source:N"),
    alt.Tooltip("num_seeds:Q", title="seeds (mean over them)"),
    alt.Tooltip("data:N"),
    alt.Tooltip("device:N"),
    alt.Tooltip("configuration:N", title="id"),
)


@dataclass(frozen=True, kw_only=True)
class Breakdown:
    """Which component takes the memory at the peak (Figure 2 of the RECE paper, finer).

    A bar is one configuration, the mean over its seeds. With `source` = both, a configuration that
    was run has its measured bar and a mark at the predicted peak; others have the predicted bar,
    paler. At most `most` bars: of each loss the best on validation, then those with the smallest
    peaks.
    """

    study: Study = None
    stage: Stage = "train"
    source: Annotated[
        Literal["measured", "predicted", "both"],
        Field(description="measured peaks, predicted ones, or both"),
    ] = "both"
    most: Annotated[
        int, Field(ge=1, description="most bars; of each loss the best on validation come first")
    ] = 80
    width: Width = 560

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row for each configuration, source and component."""
        parameters = {"study": self.study, "stage": self.stage, "source": self.source}
        parameters["most"] = self.most
        table = ledger.query(_ROWS, parameters)
        rows = table.to_pylist()
        described = describe(rows)
        keys = [key_of(row) for row in rows]
        totals: dict[Key, dict[str, int]] = {}
        for key, row in zip(keys, rows, strict=True):
            of_key = totals.setdefault(key, {})
            of_key[row["source"]] = of_key.get(row["source"], 0) + row["bytes"]
        peaks = {
            key: of_key.get("measured", of_key.get("predicted", 0))
            for key, of_key in totals.items()
        }
        smallest = sorted(peaks, key=lambda key: (peaks[key], described[key].label))
        order = {key: place for place, key in enumerate(smallest)}
        places = {name: place for place, name in enumerate(theme.COMPONENTS)}
        added = [
            {
                "data": described[key].data,
                "label": described[key].label,
                "usual": described[key].usual,
                "total": totals[key][row["source"]],
                "total_label": format_bytes(totals[key][row["source"]]),
                "named": _named(described[key].label, row["num_seeds"]),
                "size": format_bytes(row["bytes"]),
                "is_mark": row["source"] == "predicted" and "measured" in totals[key],
                "component_order": places.get(row["component"], len(places)),
                "bar_order": order[key],
                "num_left_out": row["num_bars"] - len(order),
            }
            for key, row in zip(keys, rows, strict=True)
        ]
        return theme.with_columns(table.drop_columns(["spec", "num_bars"]), added, _ADDED)

    def finding(self, rows: pa.Table) -> str:
        """Which configuration takes least, which most, and what takes most of it."""
        groups: dict[str, dict[Key, list[dict[str, Any]]]] = {}
        for row in rows.to_pylist():
            if not row["is_mark"]:
                place = f"{row['data']}, {row['device'] or 'not run'}"
                groups.setdefault(place, {}).setdefault(key_of(row), []).append(row)
        words = findings({name: _extremes(list(bars.values())) for name, bars in groups.items()})
        # This number is of all data sets together.
        left_out = rows["num_left_out"][0].as_py() if rows.num_rows else 0
        if not words or not left_out:
            return words
        return f"{words}\n{_left_out(left_out)}."

    def draw(self, rows: pa.Table) -> alt.Chart:
        """One panel per data set, one bar per configuration, the smallest peak first."""
        title = f"Memory at the {_STAGES[self.stage]} peak, by component"
        if not rows.num_rows:
            return theme.nothing_to_show(title)
        chart_data = theme.ChartData()
        panels = [
            self._panel(chart_data, rows.filter(pc.field("data") == data), rows, data)
            for data in dict.fromkeys(rows["data"].to_pylist())
        ]
        subtitle = [
            "requested bytes (live tensors); a bar is one configuration, mean over its seeds"
        ]
        if any(rows["is_mark"].to_pylist()):
            subtitle.append("bars: measured; a thin line across a bar: predicted")
        if rows.filter(~pc.field("is_mark") & (pc.field("source") == "predicted")).num_rows:
            subtitle.append("pale bars: predicted, not measured")
        if not _have_one_scale(rows):
            subtitle.append("each panel has a scale of its own")
        left_out = rows["num_left_out"][0].as_py()
        if left_out:
            subtitle.append(_left_out(left_out))
        subtitle += theme.unnamed(rows)
        heading = alt.TitleParams(title, subtitle=subtitle, offset=14)
        return theme.themed(alt.vconcat(*panels, title=heading, spacing=22), chart_data)

    def _panel(
        self, chart_data: theme.ChartData, rows: pa.Table, all_rows: pa.Table, data: str
    ) -> Any:
        names = list(dict.fromkeys(rows.sort_by("bar_order")["label"].to_pylist()))
        # Names stand above the bars: beside them they would leave no width for bars on a phone.
        y = alt.Y("label:N", title=None, sort=names, axis=None)
        # The numbers at the ends of the bars need width.
        peaks = theme.numbers(all_rows if _have_one_scale(all_rows) else rows, "total")
        widest = 1.25 * max(peaks)
        across = axes.axis_of([widest], "peak", unit="byte", zero=True)
        bars = (
            chart_data.chart(rows.filter(~pc.field("is_mark")))
            .mark_bar(height=13, yOffset=7)
            .encode(
                x=alt.X("bytes:Q", stack="zero", **across),
                y=y,
                color=theme.component_color(theme.values(all_rows, "component")),
                opacity=alt.condition("datum.source == 'predicted'", alt.value(0.45), alt.value(1)),
                order=alt.Order("component_order:Q"),
                tooltip=list(_TOOLTIP),
            )
        )
        ends = theme.first_of(rows, "label", "source")
        numbers = (
            chart_data.chart(ends.filter(~pc.field("is_mark")))
            .mark_text(align="left", dx=5, dy=7, fontSize=10)
            .encode(x=alt.X("total:Q"), y=y, text="total_label:N")
        )
        named = (
            chart_data.chart(theme.first_of(rows, "label"))
            .mark_text(align="left", dy=-8, fontSize=11, color=theme.INK)
            .encode(x=alt.value(0), y=y, text="named:N")
        )
        layers = [bars, numbers, named]
        marks = ends.filter(pc.field("is_mark"))
        if marks.num_rows:
            lines = chart_data.chart(marks).mark_tick(
                color="#111111", thickness=2, size=17, yOffset=7
            )
            layers.append(
                lines.encode(x=alt.X("total:Q"), y=y, tooltip=list(_TOOLTIP[:1] + _TOOLTIP[3:]))
            )
        heading = alt.TitleParams(data, fontSize=12, offset=8)
        return alt.layer(*layers).properties(title=heading, width=self.width, height=alt.Step(35))


def _have_one_scale(rows: pa.Table) -> bool:
    """Whether bars of all data sets can be read on one scale, as people compare them."""
    highest: dict[str, int] = {}
    for data, total in zip(rows["data"].to_pylist(), rows["total"].to_pylist(), strict=True):
        highest[data] = max(total, highest.get(data, 0))
    return max(highest.values()) <= _ONE_SCALE * min(highest.values())


def _named(label: str, num_seeds: int) -> str:
    return label if num_seeds == 1 else f"{label} ({num_seeds} seeds)"


def _left_out(number: int) -> str:
    counted = "1 configuration is" if number == 1 else f"{number:,} configurations are"
    return f"{counted} left out: of each loss the best on validation are drawn"


def _extremes(bars: list[list[dict[str, Any]]]) -> str:
    """Of one data set and device; "" where there is nothing to compare."""
    if len(bars) < 2:
        return ""
    least, *_, most = sorted(bars, key=lambda bar: bar[0]["bar_order"])
    large = max(most, key=lambda row: row["bytes"])
    low, high = least[0]["total"], most[0]["total"]
    return (
        f"From {format_bytes(low)} ({least[0]['label']}) to {format_bytes(high)} "
        f"({most[0]['label']}), {times(high / low, 'much')}; the largest part there: "
        f"{large['component'].replace('_', ' ')}, {format_share(large['bytes'] / high)}."
    )
