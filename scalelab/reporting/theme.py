"""Define the look that all charts share: colours, shapes, fonts and axes of bytes and seconds."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt
import pyarrow as pa

from scalelab.core.units import GIB, KIB, MIB

__all__ = [
    "COMPONENTS",
    "ChartData",
    "axis_of",
    "colour_of",
    "component_color",
    "first_of",
    "loss_color",
    "loss_shape",
    "nothing_to_show",
    "numbers",
    "position",
    "themed",
    "value_at",
    "values",
    "with_columns",
]

# After Okabe and Ito: hues that colour-blind people can distinguish, darker for white paper.
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


def colour_of(loss: str) -> str:
    """The colour of a loss, the same in every chart."""
    return _loss(loss)[0]


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


def with_columns(
    table: pa.Table, rows: Sequence[dict[str, Any]], kinds: dict[str, pa.DataType]
) -> pa.Table:
    """`table` with more columns, whose values are those of `rows`."""
    for name, kind in kinds.items():
        table = table.append_column(name, pa.array([row[name] for row in rows], kind))
    return table


def first_of(rows: pa.Table, *columns: str) -> pa.Table:
    """The first row of each combination of values in `columns`."""
    seen = list(zip(*(rows[name].to_pylist() for name in columns), strict=True))
    first = {key: place for place, key in reversed(list(enumerate(seen)))}
    return rows.take(pa.array(sorted(first.values()), pa.int64()))


def values(rows: pa.Table, column: str) -> list[Any]:
    """The values of a column, without nulls."""
    return [value for value in rows.column(column).to_pylist() if value is not None]


def numbers(rows: pa.Table, column: str) -> list[float]:
    """The finite numbers of a column."""
    return [float(v) for v in values(rows, column) if math.isfinite(v)]


def axis_of(
    found: Sequence[float],
    title: str,
    *,
    unit: str = "",
    log: bool | None = None,
    zero: bool = False,
) -> dict[str, Any]:
    """Keywords of a channel: title, a scale with a stated domain, and ticks at round places.

    `unit` is byte, s, count or empty. Log where the numbers span more than a factor of eight,
    unless `log` says otherwise; `zero` makes a linear scale start there.
    """
    low, high = (min(found), max(found)) if found else (1.0, 2.0)
    if log is None:
        log = not zero and low > 0 and high / low > 8
    if log:
        margin = (high / low) ** 0.06 if high > low else 1.5
        start, end = low / margin, high * margin
        ticks = _log_ticks(start, end, unit)
    else:
        margin = 0.06 * (high - low) or abs(high) * 0.1 or 1.0
        start, end = (0.0, high * 1.02) if zero else (low - margin, high + margin)
        ticks = _linear_ticks(start, end, unit)
    scale = alt.Scale(type="log" if log else "linear", domain=[start, end], nice=False, zero=False)
    labelled: dict[str, Any] = {"labelExpr": _LABELS[unit]} if unit else {}
    axis = alt.Axis(values=ticks, **labelled)
    return {"title": title, "scale": scale, "axis": axis}


def position(scale: alt.Scale, value: float) -> float:
    """The position of `value` on a scale of `axis_of`: 0 at its start, 1 at its end."""
    encoded = scale.to_dict()
    low, high = encoded["domain"]
    if encoded["type"] == "log":
        return math.log(value / low) / math.log(high / low)
    return (value - low) / (high - low)


def value_at(scale: alt.Scale, place: float) -> float:
    """The value at a `position` of a scale of `axis_of`."""
    encoded = scale.to_dict()
    low, high = encoded["domain"]
    if encoded["type"] == "log":
        return low * (high / low) ** place
    return low + (high - low) * place


def _short(count: str) -> str:
    """A Vega expression for a count with up to four digits and no power of ten."""
    return f"format({count}, {count} >= 1000 ? ',.0f' : '.4~r')"


_DURATIONS = (
    *(factor * 10.0**n for n in (-3, -2, -1) for factor in (1, 2, 5)),
    *(1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0),
    *(3600.0 * hours for hours in (1, 2, 4, 8, 12, 24, 48, 96, 240, 480)),
)
_V = "datum.value"
_LABELS = {
    "byte": f"{_V} >= {GIB} ? {_short(f'({_V} / {GIB})')} + ' GiB' : "
    f"{_V} >= {MIB} ? {_short(f'({_V} / {MIB})')} + ' MiB' : "
    f"{_V} == 0 ? '0' : {_short(f'({_V} / {KIB})')} + ' KiB'",
    "s": f"{_V} >= 3600 ? {_short(f'({_V} / 3600)')} + ' h' : "
    f"{_V} >= 60 ? {_short(f'({_V} / 60)')} + ' min' : {_short(_V)} + ' s'",
    "count": f"{_V} >= 1e6 ? {_short(f'({_V} / 1e6)')} + ' M' : format({_V}, ',')",
}


def _log_ticks(low: float, high: float, unit: str) -> list[float]:
    """Up to eight powers of two, round durations, or 1, 2 and 5 times powers of ten."""
    if unit == "byte":
        powers = range(math.ceil(math.log2(low)), math.floor(math.log2(high)) + 1)
        found = [2.0**power for power in powers]
    elif unit == "s":
        found = [tick for tick in _DURATIONS if low <= tick <= high]
    else:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        found = [factor * 10.0**n for n in decades for factor in (1, 2, 5)]
        found = [tick for tick in found if low <= tick <= high]
        if len(found) > 8:
            found = [10.0**n for n in decades if low <= 10.0**n <= high]
    every = max(1, math.ceil(len(found) / 8))
    return found[::every]


def _linear_ticks(low: float, high: float, unit: str) -> list[float]:
    """Up to seven multiples of a power of two, a round duration, or 1, 2, 5 times 10 to some n."""
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / 6))
    step = next(power * f for f in (1, 2, 5, 10) if span / (power * f) <= 6.001)
    if unit == "byte":
        step = 2.0 ** math.ceil(math.log2(span / 6))
    elif unit == "s":
        step = next((tick for tick in _DURATIONS if span / tick <= 6), step)
    ticks = range(math.ceil(low / step), math.floor(high / step) + 1)
    return [float(f"{step * n:.12g}") for n in ticks]


class ChartData:
    """The tables of one chart. Each is stored once, and the layers refer to it by name.

    Altair copies what a chart holds whenever charts are combined; names are cheap to copy.
    """

    def __init__(self) -> None:
        self._tables: list[pa.Table] = []

    def chart(self, rows: pa.Table) -> alt.Chart:
        """An empty chart of `rows`."""
        return alt.Chart(self.data(rows))

    def data(self, rows: pa.Table) -> alt.NamedData:
        """The name of `rows`."""
        for place, table in enumerate(self._tables):
            if table is rows:
                return alt.NamedData(name=f"rows-{place}")
        self._tables.append(rows)
        return alt.NamedData(name=f"rows-{len(self._tables) - 1}")

    def datasets(self) -> dict[str, list[dict[str, Any]]]:
        """The tables by name, as JSON has them: null for numbers that are not finite."""
        return {
            f"rows-{place}": [
                {name: _finite(value) for name, value in row.items()} for row in table.to_pylist()
            ]
            for place, table in enumerate(self._tables)
        }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def nothing_to_show(title: str, reason: str = "no finished runs") -> alt.Chart:
    """The chart of an empty ledger: it says that there is nothing yet."""
    rows = pa.table({"message": [reason]})
    chart_data = ChartData()
    text = chart_data.chart(rows).mark_text(size=14, color="#666666").encode(text="message:N")
    return themed(text.properties(title=title, width=360, height=120), chart_data)


def themed(chart: Any, chart_data: ChartData) -> Any:
    """`chart` with its tables, and the fonts, greys and grid that all charts share."""
    # Set, not configured: each configure_...() of Altair copies the whole chart.
    chart.config = alt.Config(
        font="Helvetica Neue, Arial, Liberation Sans, DejaVu Sans, sans-serif",
        background="white",
        padding=12,
        view=alt.ViewConfig(stroke=None),
        axis=alt.AxisConfig(
            gridColor=_PALE,
            domainColor="#888888",
            tickColor="#888888",
            labelColor=_INK,
            titleColor=_INK,
            labelFontSize=11,
            titleFontSize=12,
            titleFontWeight="normal",
        ),
        title=alt.TitleConfig(fontSize=14, anchor="start", color=_INK, subtitleColor="#555555"),
        header=alt.HeaderConfig(
            labelFontSize=12, titleFontSize=12, labelColor=_INK, titleColor=_INK
        ),
        legend=alt.LegendConfig(labelFontSize=11, titleFontSize=12, titleFontWeight="normal"),
    )
    chart.datasets = chart_data.datasets()
    return chart
