"""Words and numbers in, the one look of all charts out: colours, shapes, sizes, axes of bytes."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt
import pyarrow as pa

from scalelab.core.units import GIB, KIB, MIB

__all__ = [
    "COMPONENTS",
    "byte_axis",
    "component_color",
    "log_or_linear",
    "loss_color",
    "loss_shape",
    "nothing_to_show",
    "numbers",
    "themed",
    "values",
]

# Okabe and Ito's eight colours, darkened where white paper asks for it: told apart by colour-blind eyes.
# A loss keeps its colour and its shape in every chart; related losses share a hue.
_LOSSES = {
    "dense_ce": ("#0072B2", "circle"),
    "cross_entropy": ("#56B4E9", "circle"),
    "linear_ce": ("#3B6FB6", "diamond"),
    "cut_ce": ("#1B4F72", "triangle-up"),
    "liger_ce": ("#7FB3D5", "triangle-down"),
    "sampled_softmax": ("#009E73", "square"),
    "sce": ("#66C2A5", "diamond"),
    "rece": ("#D55E00", "triangle-up"),
    "bce": ("#CC79A7", "cross"),
    "gbce": ("#8E4585", "cross"),
    "bpr": ("#B8960C", "stroke"),
    "bpr_max": ("#E69F00", "triangle-down"),
    "top1": ("#6B6B6B", "triangle-left"),
    "top1_max": ("#A0A0A0", "triangle-right"),
}
_OTHER_COLOURS = ("#8C564B", "#17A2B8", "#7A7A2A", "#AF4D98", "#3F7F3F")
_OTHER_SHAPES = ("circle", "square", "diamond", "triangle-up")

# Bottom to top of a stack: what a model must have, what training adds, what the loss adds.
COMPONENTS = {
    "item_table": "#08519C",
    "encoder_parameters": "#6BAED6",
    "item_table_gradient": "#006D2C",
    "encoder_gradients": "#74C476",
    "optimizer_state": "#6A51A3",
    "optimizer_workspace": "#BCBDDC",
    "batch": "#8C6D31",
    "activations": "#E6AB02",
    "loss_workspace": "#D7301F",
    "evaluation_workspace": "#E377C2",
    "other": "#BDBDBD",
}
_INK = "#222222"
_PALE = "#E4E4E4"


def loss_color(losses: Iterable[str]) -> alt.Color:
    """Colour by the column `loss`, the same for a loss in every chart."""
    names = sorted(set(losses))
    colours = [_loss(name)[0] for name in names]
    return alt.Color("loss:N", title="loss", scale=alt.Scale(domain=names, range=colours))


def loss_shape(losses: Iterable[str]) -> alt.Shape:
    """Shape by the column `loss`, beside its colour, for eyes and printers without colours."""
    names = sorted(set(losses))
    shapes = [_loss(name)[1] for name in names]
    return alt.Shape("loss:N", title="loss", scale=alt.Scale(domain=names, range=shapes))


def _loss(name: str) -> tuple[str, str]:
    if name in _LOSSES:
        return _LOSSES[name]
    place = sum(name.encode())
    colour = _OTHER_COLOURS[place % len(_OTHER_COLOURS)]
    return colour, _OTHER_SHAPES[place % len(_OTHER_SHAPES)]


def component_color(present: Iterable[str]) -> alt.Color:
    """Colour by the column `component`; the legend lists those present, as they are stacked."""
    here = set(present)
    names = [name for name in COMPONENTS if name in here] + sorted(here - COMPONENTS.keys())
    colours = [COMPONENTS.get(name, "#777777") for name in names]
    legend = alt.Legend(symbolType="square", labelExpr="replace(datum.label, /_/g, ' ')")
    scale = alt.Scale(domain=names, range=colours)
    return alt.Color("component:N", title="component", scale=scale, legend=legend)


def values(rows: pa.Table, column: str) -> list[Any]:
    """The values of a column, without nulls."""
    return [value for value in rows.column(column).to_pylist() if value is not None]


def numbers(rows: pa.Table, column: str) -> list[float]:
    """The finite numbers of a column."""
    return [float(v) for v in values(rows, column) if math.isfinite(v)]


def log_or_linear(found: Sequence[float], *, zero: bool = False) -> alt.Scale:
    """A log scale where the numbers span more than a factor of twenty, else a linear one."""
    if found and min(found) > 0 and max(found) / min(found) > 20:
        return alt.Scale(type="log", nice=False, padding=14)
    return alt.Scale(zero=zero, nice=True, padding=0 if zero else 14)


def byte_axis(found: Sequence[float], title: str, *, zero: bool = False) -> dict[str, Any]:
    """Keywords of a channel that shows bytes: axis with binary units at round places, and scale."""
    scale = alt.Scale(zero=zero, nice=False) if zero else log_or_linear(found)
    low, high = (min(found), max(found)) if found else (0.0, float(GIB))
    if scale.to_dict().get("type") == "log":
        steps = range(math.floor(math.log2(low)), math.ceil(math.log2(high)) + 1)
        every = max(1, math.ceil(len(steps) / 7))
        ticks = [2.0**step for step in steps if step % every == 0]
    else:
        ticks = _round_ticks(0.0 if zero else low, high)
    label = (
        f"datum.value >= {GIB} ? format(datum.value / {GIB}, '.3~g') + ' GiB' : "
        f"datum.value >= {MIB} ? format(datum.value / {MIB}, '.3~g') + ' MiB' : "
        f"datum.value == 0 ? '0' : format(datum.value / {KIB}, '.3~g') + ' KiB'"
    )
    return {"title": title, "scale": scale, "axis": alt.Axis(values=ticks, labelExpr=label)}


def _round_ticks(low: float, high: float) -> list[float]:
    """Four to eight multiples of 1, 2 or 5 (or a power of two) binary units between two counts."""
    span = max(high - low, 1.0)
    unit = next((u for u in (GIB, MIB, KIB) if span >= u), 1)
    step = next(
        unit * factor * 10**power
        for power in range(9)
        for factor in (1, 2, 5)
        if span / (unit * factor * 10**power) <= 6
    )
    first = math.ceil(low / step)
    return [float(step * n) for n in range(first, math.floor(high / step) + 1)]


def nothing_to_show(title: str, reason: str = "no finished runs") -> alt.Chart:
    """The chart of an empty ledger: it says that there is nothing yet."""
    rows = pa.table({"message": [reason]})
    text = alt.Chart(rows, title=title).mark_text(size=14, color="#666666")
    return themed(text.encode(text="message:N").properties(width=360, height=120))


def themed(chart: Any) -> Any:
    """`chart` with the fonts, greys and grid that all charts share."""
    font = "Helvetica Neue, Arial, Liberation Sans, DejaVu Sans, sans-serif"
    return (
        chart.configure(font=font, background="white", padding=12)
        .configure_view(stroke=None)
        .configure_axis(
            gridColor=_PALE,
            domainColor="#888888",
            tickColor="#888888",
            labelColor=_INK,
            titleColor=_INK,
            labelFontSize=11,
            titleFontSize=12,
            titleFontWeight="normal",
        )
        .configure_title(fontSize=14, anchor="start", color=_INK, subtitleColor="#555555")
        .configure_header(labelFontSize=12, titleFontSize=12, labelColor=_INK, titleColor=_INK)
        .configure_legend(labelFontSize=11, titleFontSize=12, titleFontWeight="normal")
    )
