"""Define how lines look: in the colour of their loss, with dashes among lines of one loss."""

from collections.abc import Mapping
from dataclasses import dataclass

import altair as alt

from scalelab.reporting import theme

__all__ = ["OWN_LINES", "Look", "look_of"]

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


def look_of(losses: Mapping[str, str], column: str) -> Look:
    """The look of lines that the values of `column` name; `losses` has the loss of each."""
    names = list(losses)
    colours = [theme.colour_of(losses[name]) for name in names]
    before = [[losses[other] for other in names[:place]] for place in range(len(names))]
    dashes = [
        _DASHES[earlier.count(losses[name]) % len(_DASHES)]
        for name, earlier in zip(names, before, strict=True)
    ]
    legend = alt.Legend(
        orient="bottom", columns=2, labelLimit=520, symbolType="stroke", symbolSize=700
    )
    scale = alt.Scale(domain=names, range=colours)
    return Look(
        color=alt.Color(f"{column}:N", title=None, scale=scale, legend=legend),
        fill=alt.Fill(f"{column}:N", title=None, scale=scale, legend=None),
        dash=alt.StrokeDash(
            f"{column}:N", title=None, scale=alt.Scale(domain=names, range=dashes), legend=legend
        ),
    )
