"""Draw what qualities are compared with: the oracle, which is the bound, and the baselines."""

import json
from typing import Any

import altair as alt
import pyarrow as pa

from scalelab.findings.rounded import rounded
from scalelab.reporting import axes, theme

__all__ = ["draw", "heights", "levels"]

_SPANNED = ("test_quality", "test_low", "test_high")


def heights(rows: pa.Table) -> list[float]:
    """What the axis of quality must span: points, their spreads, and the bounds not far above."""
    found = [n for name in _SPANNED for n in theme.numbers(rows, name)]
    high = max(found, default=1.0)
    bounds = [*theme.numbers(rows, "oracle_quality")[:1], *_baselines(rows).values()]
    return [high, *(bound for bound in bounds if bound <= 2 * high)]


def draw(chart_data: theme.ChartData, rows: pa.Table, up: dict[str, Any]) -> list[alt.Chart]:
    """A line for each bound on the axis `up`, and words for those beyond its ends."""
    oracle = theme.numbers(rows, "oracle_quality")[:1]
    found = {f"oracle {rounded(value)}": value for value in oracle}
    found |= {f"{name} {rounded(value)}": value for name, value in _baselines(rows).items()}
    places = {words: axes.position(up["scale"], value) for words, value in found.items()}
    layers = []
    shown = {words: found[words] for words, place in places.items() if 0 <= place <= 1}
    if shown:
        lines = chart_data.chart(
            pa.table({"bound": list(shown), "test_quality": list(shown.values())})
        ).encode(y="test_quality:Q")
        text = lines.mark_text(align="left", dx=4, dy=-6, fontSize=10, color="#555555")
        layers += [
            lines.mark_rule(strokeDash=[5, 4], color="#777777"),
            text.encode(x=alt.value(0), text="bound:N"),
        ]
    above = [words for words, place in places.items() if place > 1]
    one = chart_data.chart(rows.slice(0, 1))
    style: dict[str, Any] = {"align": "left", "dx": 4, "fontSize": 10, "color": "#555555"}
    if above:
        words = alt.value(f"above: {', '.join(above)}")
        layers.append(
            one.mark_text(dy=-6, **style).encode(x=alt.value(0), y=alt.value(0), text=words)
        )
    return layers


def levels(rows: pa.Table, up: dict[str, Any]) -> list[float]:
    """The qualities of the lines that `draw` draws on the axis `up`."""
    found = [*theme.numbers(rows, "oracle_quality")[:1], *_baselines(rows).values()]
    return [value for value in found if 0 <= axes.position(up["scale"], value) <= 1]


def _baselines(rows: pa.Table) -> dict[str, float]:
    return json.loads(rows["baselines"][0].as_py() or "{}")
