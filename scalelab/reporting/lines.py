"""Define how lines look: in the colour of their loss, with dashes among lines of one loss."""

from collections import Counter
from dataclasses import dataclass

import altair as alt
import pyarrow as pa

from scalelab.reporting import theme
from scalelab.reporting.legends import label_lines

__all__ = ["OWN_LINES", "Look", "look_of"]

# Labels of more letters stand below one another, broken into lines of this width in pixels.
_LONG = 44
_WIDEST = 520.0
_SIZE = 11.0
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [1, 3], [12, 4])


@dataclass(frozen=True, kw_only=True)
class Look:
    """Colour of lines, inside of their points, and dashes."""

    color: alt.Color
    fill: alt.Fill
    dash: alt.StrokeDash


# Where each panel has lines of its own. Vega joins the legends of colour and dashes into one only
# where both are independent.
OWN_LINES = alt.Resolve(
    scale=alt.ScaleResolveMap(color="independent", fill="independent", strokeDash="independent")
)


def look_of(rows: pa.Table, column: str, panel: pa.Table | None = None) -> Look:
    """The look of lines that the values of `column` name, each in the colour of its `loss`.

    The legend of a panel with only some of the rows lists only its lines, and a name looks the
    same in all panels.
    """
    losses = dict(zip(rows[column].to_pylist(), rows["loss"].to_pylist(), strict=True))
    count: Counter[str] = Counter()
    dash_of: dict[str, list[int]] = {}
    for name, loss in losses.items():
        dash_of[name] = _DASHES[count[loss] % len(_DASHES)]
        count[loss] += 1
    shown = losses.keys() if panel is None else set(panel[column].to_pylist())
    names = [name for name in losses if name in shown]
    colours = [theme.colour_of(losses[name]) for name in names]
    dashes = [dash_of[name] for name in names]
    is_long = max(map(len, names), default=0) > _LONG
    broken = label_lines(names, _WIDEST, _SIZE)
    legend = alt.Legend(
        orient="bottom",
        columns=1 if is_long else 2,
        # Whole: two labels may differ in their ends alone.
        labelLimit=0,
        labelExpr=alt.Undefined if broken is None else broken,
        symbolType="stroke",
        symbolSize=700,
    )
    scale = alt.Scale(domain=names, range=colours)
    return Look(
        color=alt.Color(f"{column}:N", title=None, scale=scale, legend=legend),
        fill=alt.Fill(f"{column}:N", title=None, scale=scale, legend=None),
        dash=alt.StrokeDash(
            f"{column}:N", title=None, scale=alt.Scale(domain=names, range=dashes), legend=legend
        ),
    )
