"""Draw how memory, time and quality change with one setting while all others are fixed."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import altair as alt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from scalelab.core.units import format_bytes, format_seconds
from scalelab.findings.differences import KEY, Settings, key_of, labels, settings_of
from scalelab.findings.rounded import times
from scalelab.findings.verdicts import verdicts_of
from scalelab.reporting import axes, theme
from scalelab.reporting.charts._options import Height, Metric, Study, Width
from scalelab.reporting.lines import Look, look_of
from scalelab.reporting.quality import configurations_by, metric_of, note_on
from scalelab.reporting.selection import SHOWN, ids
from scalelab.reporting.shared_parts import findings
from scalelab.store.ledger import Ledger

__all__ = ["Scaling"]

_TITLES = {
    "num_items": "items in the catalog",
    "batch_size": "batch size (sequences)",
    "max_len": "length of a row",
    "hidden_dim": "hidden dimension",
    "num_negatives": "negatives",
}
# Where a spec holds the setting: all else is the same along a line.
_KEYS = {
    "num_items": "data.num_items",
    "batch_size": "batch.size",
    "max_len": "batch.max_len",
    "hidden_dim": "model.hidden_dim",
    "num_negatives": "negatives.0.num_negatives",
}
_ROWS = f"""
SELECT {", ".join(KEY)}, dataset, model, loss,
    batch_size, max_len, hidden_dim, num_negatives, num_items, num_seeds, valid_quality,
    test_quality, peak_kind, peak_bytes, train_s, spec::VARCHAR AS spec
FROM {{configurations}}
WHERE peak_bytes IS NOT NULL AND train_s IS NOT NULL
    AND ($study IS NULL OR list_contains(study_ids, $study))
    AND configuration IN ({SHOWN})
ORDER BY dataset, num_items, model, loss, configuration, device, results_version
"""
_ADDED = {
    "setting": pa.string(),
    "value": pa.float64(),
    "place": pa.string(),
    "line": pa.string(),
    "usual": pa.string(),
    "line_order": pa.int64(),
    "verdict": pa.string(),
    "num_left_out": pa.int64(),
    "peak": pa.string(),
    "time": pa.string(),
    "metric": pa.string(),
}
_TOOLTIP = (
    alt.Tooltip("line:N", title="the same along the line"),
    alt.Tooltip("value:Q", title="setting", format=","),
    alt.Tooltip("num_seeds:Q", title="seeds (mean over them)"),
    alt.Tooltip("peak:N", title="training peak"),
    alt.Tooltip("time:N", title="training time"),
    alt.Tooltip("metric:N"),
    alt.Tooltip("test_quality:Q", title="test", format=".4f"),
    alt.Tooltip("verdict:N", title="note"),
)


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How memory, time and test quality change with one setting, all other settings being equal.

    A line joins configurations that differ in nothing but the setting, each the mean over its
    seeds. `by` = auto takes the first of catalog size, batch size, length, width and negatives that
    varies alone. At most `most_lines` lines
    are drawn, those with most points; configurations that are on no line are left out.
    """

    by: Annotated[
        Literal["auto", "num_items", "batch_size", "max_len", "hidden_dim", "num_negatives"],
        Field(
            description="setting on the horizontal axis; auto: the first of these that varies alone"
        ),
    ] = "auto"
    metric: Metric = None
    study: Study = None
    most_lines: Annotated[int, Field(ge=1, description="most lines, those with most points")] = 16
    width: Width = 290
    height: Height = 250

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row for each configuration on a line; without any line, for each configuration."""
        metric = metric_of(ledger, self.metric, self.study)
        sql = _ROWS.format(configurations=configurations_by(metric))
        table = ledger.query(sql, {"study": self.study})
        rows = table.to_pylist()
        settings = [settings_of(row["spec"]) for row in rows]
        names = list(_KEYS) if self.by == "auto" else [self.by]
        found = {name: _lines(rows, settings, name) for name in names}
        by = next((name for name in names if _has_a_line(found[name])), names[0])
        lines = [line for line in found[by] if len(line) > 1] or found[by]
        lines = sorted(lines, key=len, reverse=True)[: self.most_lines]
        places = [place for line in lines for place in line]
        verdicts = verdicts_of(ledger, ids(rows)) if rows else {}
        words, usual = _words(
            [rows[line[0]] for line in lines], [settings[line[0]] for line in lines], by
        )
        added = [
            {
                "setting": by,
                "value": rows[place][by],
                "place": _place(rows[place], by),
                "line": words[number],
                "usual": usual,
                "line_order": number,
                "verdict": verdicts[key_of(rows[place])].words or None,
                "num_left_out": len(rows) - len(places),
                "peak": format_bytes(rows[place]["peak_bytes"]),
                "time": format_seconds(rows[place]["train_s"]),
                "metric": metric.title,
            }
            for number, line in enumerate(lines)
            for place in line
        ]
        shown = table.drop_columns(["spec"]).take(pa.array(places, pa.int64()))
        return theme.with_columns(shown, added, _ADDED)

    def finding(self, rows: pa.Table) -> str:
        """What the whole range of the setting changes along the longest line of each place."""
        places: dict[str, dict[str, list[dict[str, Any]]]] = {}
        for row in rows.to_pylist():
            lines = places.setdefault(row["place"], {})
            lines.setdefault(row["line"], []).append(row)
        return findings(
            {name: _growth(max(lines.values(), key=len)) for name, lines in places.items()}
        )

    def draw(self, rows: pa.Table) -> alt.Chart:
        """A row of panels per data set and device: training peak, training time, quality."""
        if not rows.num_rows:
            return theme.nothing_to_show("Growth with the catalog")
        chart_data = theme.ChartData()
        setting = rows["setting"][0].as_py()
        look = look_of(rows, "line")
        panels = [
            self._panels(
                chart_data,
                rows.filter(pc.field("place") == place),
                look=look,
                place=place,
                setting=setting,
            )
            for place in dict.fromkeys(rows["place"].to_pylist())
        ]
        subtitle = [
            "a line joins configurations that are equal in all other settings; means over seeds"
        ]
        if theme.values(rows, "verdict"):
            subtitle.append("hollow: ended at a baseline, below one, or while still rising")
        left_out = rows["num_left_out"][0].as_py()
        if left_out:
            subtitle.append(f"{left_out} configurations that are on no such line are left out")
        subtitle += [*note_on(rows, metric=self.metric, study=self.study), *theme.unnamed(rows)]
        heading = alt.TitleParams(f"Growth with {_TITLES[setting]}", subtitle=subtitle, offset=14)
        return theme.themed(alt.vconcat(*panels, title=heading, spacing=30), chart_data)

    def _panels(
        self,
        chart_data: theme.ChartData,
        rows: pa.Table,
        *,
        look: Look,
        place: str,
        setting: str,
    ) -> alt.HConcatChart:
        counted = "count" if setting == "num_items" else ""
        found = sorted(set(theme.numbers(rows, "value")))
        is_log = found[0] > 0 and found[-1] >= 4 * found[0]
        across = axes.axis_of(found, _TITLES[setting], unit=counted, log=is_log)
        if len(found) <= 8:
            # The values that were tried say more than round numbers between them.
            across["axis"].values = found
        kinds = ", ".join(dict.fromkeys(rows["peak_kind"].to_pylist()))
        shown = [
            ("peak_bytes", "byte", f"training peak ({kinds})"),
            ("train_s", "s", "training time"),
            ("test_quality", "", f"test {rows['metric'][0].as_py()}"),
        ]
        panels = [
            self._panel(
                chart_data, rows, look=look, across=across, field=field, unit=unit, title=title
            )
            for field, unit, title in shown
            if theme.numbers(rows, field)
        ]
        return alt.hconcat(*panels, title=alt.TitleParams(place, fontSize=12, offset=8))

    def _panel(
        self,
        chart_data: theme.ChartData,
        rows: pa.Table,
        *,
        look: Look,
        across: dict[str, Any],
        field: str,
        unit: str,
        title: str,
    ) -> Any:
        up = (
            axes.axis_of(theme.numbers(rows, field), title, unit=unit)
            if unit
            else axes.quality_axis(theme.numbers(rows, field), title)
        )
        base = chart_data.chart(rows).encode(
            x=alt.X("value:Q", **across), y=alt.Y(f"{field}:Q", **up), color=look.color
        )
        lines = base.mark_line(strokeWidth=1.6).encode(strokeDash=look.dash)
        is_plain = "datum.verdict == null"
        points = base.mark_point(size=55, opacity=1).encode(
            fill=alt.condition(is_plain, look.fill, alt.value("white")), tooltip=list(_TOOLTIP)
        )
        return alt.layer(lines, points).properties(width=self.width, height=self.height)


def _growth(line: Sequence[dict[str, Any]]) -> str:
    """What changes from the first to the last value of the setting."""
    if len(line) < 2:
        return ""
    low, high = line[0], line[-1]
    quality = (
        f", and the test {low['metric']} goes from {low['test_quality']:.4f} to "
        f"{high['test_quality']:.4f}"
        if None not in (low["test_quality"], high["test_quality"])
        else ""
    )
    return (
        f"{low['line']}, from {low['value']:,.0f} to {high['value']:,.0f} "
        f"{_TITLES[low['setting']]}: the training peak is "
        f"{times(high['peak_bytes'] / low['peak_bytes'], 'large')}, the training time is "
        f"{times(high['train_s'] / low['train_s'], 'long')}{quality}."
    )


def _has_a_line(lines: Sequence[Sequence[int]]) -> bool:
    return any(len(line) > 1 for line in lines)


def _lines(
    rows: Sequence[dict[str, Any]], settings: Sequence[Settings], by: str
) -> list[list[int]]:
    """The places of the rows that are equal in all but `by`, the smallest value first."""
    groups: dict[str, list[int]] = {}
    for place, (row, one) in enumerate(zip(rows, settings, strict=True)):
        if row[by] is not None:
            groups.setdefault(_held(row, one, by), []).append(place)
    return [sorted(group, key=lambda place: rows[place][by]) for group in groups.values()]


def _held(row: dict[str, Any], one: Settings, by: str) -> str:
    """Everything that must be equal along a line."""
    key = _KEYS[by]
    rest = {name: value for name, value in one.items() if name != key}
    # Several sets of negatives have no one number; such configurations are on no line.
    alone = by != "num_negatives" or "negatives.1.num_negatives" not in one
    # Synthetic catalogs of several sizes differ in their fingerprints; other data are held fixed.
    data = None if by == "num_items" and key in one else row["data_fingerprint"]
    same = (rest, data, *(row[name] for name in KEY[2:]))
    return json.dumps(same if alone and key in one else (*same, row["configuration"]))


def _words(
    rows: Sequence[dict[str, Any]], settings: Sequence[Settings], by: str
) -> tuple[list[str], str]:
    """A name for each line by what is fixed along it, and the settings that no name names."""
    names, usual = labels(settings, without=[_KEYS[by]])
    count = Counter((name, _place(row, by)) for name, row in zip(names, rows, strict=True))
    unique = [
        name if count[name, _place(row, by)] == 1 else f"{name}, id {row['configuration']}"
        for name, row in zip(names, rows, strict=True)
    ]
    return unique, usual


def _place(row: dict[str, Any], by: str) -> str:
    items = "" if by == "num_items" or row["num_items"] is None else f"{row['num_items']:,} items, "
    return f"{row['dataset']}, {items}{row['protocol']}, {row['device'] or 'unknown device'}"
