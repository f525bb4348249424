"""Change what every chart has: its title and the size of its letters."""

import json
from dataclasses import dataclass
from typing import Any

import altair as alt

from scalelab.core.errors import SpecError

__all__ = ["Looks", "split_looks"]

# The size of the labels of axes, which stands for all: the others keep their ratio to it.
_USUAL = 11


@dataclass(frozen=True, kw_only=True)
class Looks:
    """Options of every chart: `title` takes the place of its own; `font_size` is that of labels."""

    title: str | None = None
    font_size: float | None = None

    def of(self, chart: Any) -> Any:
        """The chart with this title and letters of this size."""
        if self.title is None and self.font_size is None:
            return chart
        spec = chart.to_dict()
        if self.title is not None:
            old = spec.get("title")
            spec["title"] = old | {"text": self.title} if isinstance(old, dict) else self.title
        if self.font_size is not None:
            spec = _scaled(spec, self.font_size / _USUAL)
        return alt.Chart.from_json(json.dumps(spec))


def split_looks(options: dict[str, Any]) -> tuple[Looks, dict[str, Any]]:
    """The options of every chart, and those that are the chart's own. Raises SpecError."""
    own = dict(options)
    title, size = own.pop("title", None), own.pop("font_size", None)
    if size is not None and (not isinstance(size, int | float) or not 4 <= size <= 60):
        raise SpecError(f"invalid font_size: {size!r}", "write a number from 4 to 60")
    return Looks(title=None if title is None else str(title), font_size=size), own


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
