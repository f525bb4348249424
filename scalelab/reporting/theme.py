"""Define the look that all charts share: colours, shapes and fonts."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import altair as alt
import pyarrow as pa

from scalelab.reporting.views import LISTING

__all__ = [
    "COMPONENTS",
    "DARK",
    "INK",
    "ChartData",
    "colour_of",
    "component_color",
    "first_of",
    "loss_color",
    "loss_fill",
    "loss_shape",
    "loss_stroke",
    "nothing_to_show",
    "numbers",
    "text_table",
    "themed",
    "unnamed",
    "values",
    "view_name",
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
    "attribute_table": "#9ECAE1",
    "user_table": "#17A2B8",
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
INK = "#222222"
_PALE = "#E4E4E4"
# What each colour of paper becomes on a dark page. Only colours that are too dark there, or too
# bright, are here.
DARK = {
    INK: "#E8E8E8",
    _PALE: "#3A3F4A",
    "#111111": "#F5F5F5",
    "#555555": "#B4BAC6",
    "#666666": "#AAB0BC",
    "#777777": "#9AA1AE",
    "#888888": "#8A919E",
    "#0072B2": "#2F80E0",
    "#56B4E9": "#8AD2FA",
    "#3B6FB6": "#8E9CF0",
    "#1B4F72": "#4C93A8",
    "#7FB3D5": "#B4C9DC",
    "#8E4585": "#B266D9",
    "#6B6B6B": "#808080",
    "#A0A0A0": "#DADADA",
    "#8C564B": "#C08A7E",
    "#AF4D98": "#CC7BBA",
    "#7A7A2A": "#B5B55A",
    "#3F7F3F": "#6DB36D",
    "#08519C": "#3F86D1",
    "#006D2C": "#3BA35F",
    "#6A51A3": "#9A86D6",
    "#8C6D31": "#B8975A",
    "#D7301F": "#EE5A4A",
    "#B03A2E": "#F08A7E",
    "white": "#14171D",
    "black": "#F5F5F5",
}


def colour_of(loss: str) -> str:
    """The colour of a loss, the same in every chart."""
    return _loss(loss)[0]


def loss_color(losses: Iterable[str]) -> alt.Color:
    """Colour by the column `loss`, the same for a loss in every chart."""
    names = sorted(set(losses))
    colours = [_loss(name)[0] for name in names]
    return alt.Color("loss:N", title="loss", scale=alt.Scale(domain=names, range=colours))


def loss_fill(losses: Iterable[str]) -> alt.Fill:
    """The inside of points by the column `loss`, beside `loss_color`."""
    names = sorted(set(losses))
    colours = [_loss(name)[0] for name in names]
    return alt.Fill("loss:N", legend=None, scale=alt.Scale(domain=names, range=colours))


def loss_stroke(losses: Iterable[str]) -> alt.Stroke:
    """The edge of letters by the column `loss`, beside `loss_color`."""
    names = sorted(set(losses))
    colours = [_loss(name)[0] for name in names]
    return alt.Stroke("loss:N", legend=None, scale=alt.Scale(domain=names, range=colours))


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
    table: pa.Table, rows: Sequence[dict[str, Any]], kinds: Mapping[Any, pa.DataType]
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


def unnamed(rows: pa.Table) -> list[str]:
    """A line for the subtitle with the settings that the labels of `rows` do not name."""
    usual = rows["usual"][0].as_py()
    return [f"where not named: {usual}"] if usual else []


def values(rows: pa.Table, column: str) -> list[Any]:
    """The values of a column, without nulls."""
    return [value for value in rows.column(column).to_pylist() if value is not None]


def numbers(rows: pa.Table, column: str) -> list[float]:
    """The finite numbers of a column."""
    return [float(v) for v in values(rows, column) if math.isfinite(v)]


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


def text_table(
    chart_data: ChartData,
    columns: dict[str, list[str]],
    heads: dict[str, str],
    widths: Sequence[int],
) -> Any:
    """A table of texts below a chart; `widths` are those of the columns, in pixels."""
    count = len(next(iter(columns.values())))
    line = [*range(count + 1)]
    cells = {name: [heads.get(name, name), *texts] for name, texts in columns.items()}
    rows = pa.table({"line": line} | cells)
    y = alt.Y("line:O", axis=None)
    base = chart_data.chart(rows).encode(y=y)
    starts = [sum(widths[:place]) for place in range(len(widths))]
    texts = [
        base.mark_text(align="left", fontSize=10, color=INK, limit=wide - 8).encode(
            x=alt.value(start), text=f"{name}:N"
        )
        for name, start, wide in zip(cells, starts, widths, strict=True)
    ]
    name = view_name(LISTING, chart_data, rows)
    return alt.layer(*texts).properties(name=name, width=sum(widths), height=alt.Step(15))


def view_name(kind: str, chart_data: ChartData, rows: pa.Table) -> str:
    """A name that begins with `kind` and occurs once in a chart, with the number of `rows`.

    Vega takes two views of one name for one: it draws the second's data in both. Altair numbers
    names that end with a number anew, and in each part of a chart from 0, so this ends with a word.
    """
    return f"{kind}_{chart_data.data(rows).name.partition('-')[2]}_rows"


def themed(chart: Any, chart_data: ChartData) -> Any:
    """`chart` with its tables, and the fonts, greys and grid that all charts share."""
    # Set, not configured: each configure_...() of Altair copies the whole chart.
    chart.config = alt.Config(
        font="Helvetica Neue, Arial, Liberation Sans, DejaVu Sans, sans-serif",
        background="white",
        padding=12,
        view=alt.ViewConfig(stroke=None),
        text=alt.MarkConfig(color=INK),
        axis=alt.AxisConfig(
            gridColor=_PALE,
            domainColor="#888888",
            tickColor="#888888",
            labelColor=INK,
            titleColor=INK,
            labelFontSize=11,
            titleFontSize=12,
            titleFontWeight="normal",
            labelOverlap=True,
            labelSeparation=8,
        ),
        title=alt.TitleConfig(fontSize=14, anchor="start", color=INK, subtitleColor="#555555"),
        header=alt.HeaderConfig(labelFontSize=12, titleFontSize=12, labelColor=INK, titleColor=INK),
        legend=alt.LegendConfig(labelFontSize=11, titleFontSize=12, titleFontWeight="normal"),
    )
    chart.datasets = chart_data.datasets()
    return chart
