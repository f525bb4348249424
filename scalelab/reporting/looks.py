"""Change what every chart has: its title, the size of its letters and its width on paper."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import altair as alt

from scalelab.core.errors import SpecError
from scalelab.reporting.print_width import POINTS_PER_INCH, fitted

__all__ = ["Looks", "drawn_for", "split_looks"]

# The size of the labels of axes, which stands for all: the others keep their ratio to it.
_USUAL = 11
_ON_PAPER = 7.5


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Options of every chart: `title` takes the place of its own; `font_size` is that of labels.

    `inches` is the width of the whole chart on paper, where no letter is smaller than 7 points.
    """

    title: str | None = None
    font_size: float | None = None
    inches: float | None = None

    def of(self, chart: Any) -> Any:
        """The chart with this title and letters of this size."""
        if (self.title, self.font_size, self.inches) == (None, None, None):
            return chart
        spec = chart.to_dict()
        if self.title is not None:
            old = spec.get("title")
            spec["title"] = old | {"text": self.title} if isinstance(old, dict) else self.title
        size = self.font_size if self.inches is None else self.font_size or _ON_PAPER
        if size is not None:
            spec = _scaled(spec, size / _USUAL)
        if self.inches is not None:
            spec = fitted(spec, self.inches)
        return alt.Chart.from_json(json.dumps(spec))


def drawn_for(looks: Looks, known: Collection[str], own: dict[str, Any]) -> dict[str, Any]:
    """The options of a chart of these `known` options, of about the size that it will have.

    Labels are placed for that size.
    """
    if looks.inches is None:
        return own
    width = round(looks.inches * POINTS_PER_INCH - 50)
    sizes = {"width": width, "height": 150, "size": width}
    return {name: value for name, value in sizes.items() if name in known} | own


def split_looks(options: dict[str, Any]) -> tuple[Looks, dict[str, Any]]:
    """The options of every chart, and those that are the chart's own. Raises SpecError."""
    own = dict(options)
    title, size = own.pop("title", None), own.pop("font_size", None)
    inches = own.pop("inches", None)
    if inches is not None and (not isinstance(inches, int | float) or not 2 <= inches <= 20):
        raise SpecError(f"invalid inches: {inches!r}", "write a number from 2 to 20, such as 3.3")
    if size is not None and (not isinstance(size, int | float) or not 4 <= size <= 60):
        raise SpecError(f"invalid font_size: {size!r}", "write a number from 4 to 60")
    return Looks(title=None if title is None else str(title), font_size=size, inches=inches), own


def _scaled(spec: Any, factor: float) -> Any:
    """Every size of letters, which names with `fontSize` at their end hold, times `factor`."""
    if isinstance(spec, list):
        return [_scaled(inner, factor) for inner in spec]
    if not isinstance(spec, dict):
        return spec
    return {
        key: value * factor
        if key.lower().endswith("fontsize") and isinstance(value, int | float)
        else value
        if key == "datasets"
        else _scaled(value, factor)
        for key, value in spec.items()
    }
