"""Draw the measured peaks of each kind of memory side by side, since they are easily confused."""

from dataclasses import dataclass

import altair as alt
import pyarrow as pa

from scalelab.core.memory_kinds import KINDS
from scalelab.core.units import format_bytes
from scalelab.findings.differences import describe, key_of
from scalelab.reporting import axes, theme
from scalelab.reporting.charts._options import Study, Width
from scalelab.reporting.selection import OF_STUDY
from scalelab.store.ledger import Ledger

__all__ = ["Kinds"]

_COLOURS = dict(zip(KINDS, ("#0072B2", "#56B4E9", "#009E73", "#E69F00", "#CC79A7"), strict=True))
_ROWS = f"""
WITH chosen AS (
    SELECT * FROM results
    WHERE {OF_STUDY}
    QUALIFY row_number() OVER (
        PARTITION BY device, loss ORDER BY peak_bytes DESC NULLS LAST, run_id
    ) = 1
)
SELECT configuration, data_fingerprint, protocol, coalesce(device, 'unknown device') AS device,
    results_version, quality_metric, threads, dataset, num_items, chosen.run_id, loss, batch_size,
    seed, spec::VARCHAR AS spec, memory.kind, memory.stage, memory.bytes, memory.reason
FROM chosen JOIN memory ON memory.run_id = chosen.run_id
WHERE memory.component = 'total' AND memory.source = 'measured'
    AND list_contains($kinds, memory.kind)
    AND (memory.stage = 'train'
        OR memory.stage = 'process' AND memory.kind IN ('device_used', 'host_rss'))
QUALIFY row_number() OVER (
    PARTITION BY chosen.run_id, memory.kind ORDER BY memory.stage = 'train' DESC
) = 1
ORDER BY device, loss, kind
"""


@dataclass(frozen=True, kw_only=True)
class Kinds:
    """Requested, allocated, reserved, device used and host memory of the largest run per loss."""

    study: Study = None
    width: Width = 520

    def rows(self, ledger: Ledger) -> pa.Table:
        """One row a run and kind; where `bytes` is null, `reason` says why."""
        table = ledger.query(_ROWS, {"study": self.study, "kinds": list(KINDS)})
        described = describe(table.to_pylist())
        words = [described[key_of(row)] for row in table.to_pylist()]
        rows = table.drop_columns(["spec"])
        rows = rows.append_column("data", pa.array([one.data for one in words], pa.string()))
        rows = rows.append_column("label", pa.array([one.label for one in words], pa.string()))
        rows = rows.append_column("usual", pa.array([one.usual for one in words], pa.string()))
        places = {name: place for place, name in enumerate(KINDS)}
        kinds = rows["kind"].to_pylist()
        rows = rows.append_column(
            "kind_order", pa.array([places.get(kind, len(places)) for kind in kinds], pa.int64())
        )
        found = zip(rows["bytes"].to_pylist(), rows["reason"].to_pylist(), strict=True)
        text = [reason or "not read" if n is None else format_bytes(n) for n, reason in found]
        return rows.append_column("text", pa.array(text, pa.string()))

    def finding(self, rows: pa.Table) -> str:
        """How far the kinds of memory are apart in the largest run."""
        read = [row for row in rows.to_pylist() if row["bytes"]]
        if not read:
            return ""
        requested = [row for row in read if row["kind"] == "requested"]
        if not requested:
            return ""
        first = max(requested, key=lambda row: row["bytes"])
        own = [row for row in read if row["run_id"] == first["run_id"]]
        own.sort(key=lambda row: row["kind_order"])
        parts = [f"{row['kind'].replace('_', ' ')} {row['text']}" for row in own]
        return f"One run, {first['label']}, has different peaks by kind: {', '.join(parts)}."

    def draw(self, rows: pa.Table) -> alt.Chart:
        """Horizontal bars by kind, one panel a run; a word in place of a bar that was not read."""
        title = "Kinds of memory, side by side"
        if not rows.num_rows:
            return theme.nothing_to_show(title)
        chart_data = theme.ChartData()
        present = sorted(set(theme.values(rows, "kind")), key=lambda k: [*KINDS, k].index(k))
        colours = [_COLOURS.get(kind, "#777777") for kind in present]
        found = theme.numbers(rows, "bytes")
        across = axes.axis_of([1.15 * max(found, default=1.0)], "peak", unit="byte", zero=True)
        axis = alt.Axis(labelExpr="replace(datum.label, '_', ' ')")
        y = alt.Y("kind:N", title=None, sort=present, axis=axis)
        base = alt.Chart().encode(y=y)
        bars = base.mark_bar(size=13).encode(
            x=alt.X("bytes:Q", **across),
            color=alt.Color("kind:N", legend=None, scale=alt.Scale(domain=present, range=colours)),
            tooltip=[
                "kind:N",
                alt.Tooltip("bytes:Q", format=","),
                "stage:N",
                "reason:N",
                "run_id:N",
            ],
        )
        text = (
            base.transform_calculate(at="datum.bytes == null ? 0 : datum.bytes")
            .mark_text(align="left", dx=4, fontSize=10)
            .encode(x=alt.X("at:Q"), text="text:N")
        )
        panels = alt.layer(bars, text).properties(width=self.width, height=alt.Step(19))
        columns = (rows[name].to_pylist() for name in ("run_id", "label", "data", "device"))
        owners = list(zip(*columns, strict=True))
        parts = [
            panels.properties(
                data=chart_data.data(rows.filter(pa.array([own == place for own in owners]))),
                title=alt.TitleParams(f"{place[1]} ({place[2]}, {place[3]})", fontSize=12),
            )
            for place in dict.fromkeys(owners)
        ]
        legend = [f"{k.replace('_', ' ')}: {KINDS[k]}" for k in present if k in KINDS]
        subtitle = [
            "one run per loss and device: that with the largest training peak",
            *theme.unnamed(rows),
            *legend,
        ]
        heading = alt.TitleParams(title, subtitle=subtitle, offset=12)
        return theme.themed(alt.vconcat(*parts, title=heading, spacing=14), chart_data)
