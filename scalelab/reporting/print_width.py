"""Fit a chart into a width in inches, such as a column of a paper: panels below one another."""

import json
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import vl_convert

from scalelab.reporting.legends import LETTER, label_lines
from scalelab.reporting.views import LISTING

__all__ = ["POINTS_PER_INCH", "fitted"]

# A pixel of a chart is a point in a PDF.
POINTS_PER_INCH = 72
# Smaller letters cannot be read on paper.
_LEAST = 7.0
# The symbol of a legend, and the letters of its labels where they are long.
_SYMBOL = 75
_LEGEND_SIZE = 8.0
_PADDING = 4
# Widths that are tried until the whole chart is as wide as it should be.
_TRIES = 4
Spec = dict[str, Any]


def fitted(spec: Spec, inches: float) -> Spec:
    """A chart whose letters have their final size already, in this width and no letter too small.

    Panels beside each other come below one another, and legends below the panels; words are broken
    into lines.
    """
    wanted = inches * POINTS_PER_INCH
    spec = json.loads(json.dumps(spec))
    _stack(spec, wanted)
    config = spec.setdefault("config", {})
    config["padding"] = _PADDING
    config.setdefault("legend", {}).update(orient="bottom", columns=1, labelLimit=wanted - _SYMBOL)
    _no_smaller(spec)
    _break_titles(spec, config, wanted - 2 * _PADDING)
    _break_listings(spec, wanted - 2 * _PADDING)
    width = wanted - 60
    for _ in range(_TRIES):
        _set_widths(spec, width)
        found = _width_of(spec)
        if abs(found - wanted) < 0.5:
            break
        width = max(40.0, width - (found - wanted))
    return spec


def _width_of(spec: Spec) -> float:
    svg = vl_convert.vegalite_to_svg(spec)
    found = re.search(r'<svg[^>]* width="([\d.]+)"', svg)
    assert found is not None, "vl-convert writes the width of an SVG"
    return float(found[1])


def _stack(spec: Any, width: float) -> None:
    """Every row of panels as a column, with each legend below its own panel."""
    for part in _parts(spec):
        if "hconcat" in part:
            part["vconcat"] = part.pop("hconcat")
        for channel in part.get("encoding", {}).values():
            legend = channel.get("legend") if isinstance(channel, dict) else None
            if isinstance(legend, dict):
                legend |= {"orient": "bottom", "columns": 1}
                names = (channel.get("scale") or {}).get("domain", ())
                broken = label_lines(names, width - _SYMBOL, _LEGEND_SIZE)
                if broken is not None:
                    legend |= {"labelExpr": broken, "labelFontSize": _LEGEND_SIZE}
        if isinstance(part.get("height"), int | float) and part["height"] > 150:
            part["height"] = 150


def _parts(spec: Any) -> Iterator[Spec]:
    """A view and all views and layers in it."""
    yield spec
    for kind in ("vconcat", "hconcat", "concat", "layer"):
        for inner in spec.get(kind, ()):
            yield from _parts(inner)


def _no_smaller(value: Any) -> None:
    """Every size of letters at least that of the smallest that can be read."""
    if isinstance(value, list):
        for inner in value:
            _no_smaller(inner)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key.lower().endswith("fontsize") and isinstance(inner, int | float):
                value[key] = max(_LEAST, inner)
            elif key != "datasets":
                _no_smaller(inner)


def _break_titles(spec: Spec, config: Spec, width: float) -> None:
    usual = config.get("title", {})
    for part in _parts(spec):
        given = part.get("title")
        if not given:
            continue
        title: dict[str, Any] = {"text": given} if isinstance(given, str) else given
        part["title"] = title
        for name, size in (("text", "fontSize"), ("subtitle", "subtitleFontSize")):
            if title.get(name):
                letters = title.setdefault(size, max(_LEAST, usual.get(size, 8.0)))
                title[name] = _lines(title[name], width, letters)


def _lines(text: str | list[str], width: float, size: float) -> list[str]:
    most = max(10, int(width / (LETTER * size)))
    given = [text] if isinstance(text, str) else text
    return [line for one in given for line in textwrap.wrap(one, most)]


def _break_listings(spec: Spec, width: float) -> None:
    """Of a table of texts the first two columns, the second on as many lines as it needs."""
    for part in _parts(spec):
        if not str(part.get("name", "")).startswith(LISTING):
            continue
        layers = part["layer"] = part["layer"][:2]
        part["height"] = {"step": _LEAST + 3}
        for layer in layers:
            layer["mark"].update(fontSize=_LEAST, limit=width)
        layers[1]["encoding"]["x"] = {"value": 20}
        number, label = (layer["encoding"]["text"]["field"] for layer in layers)
        name = part.get("data", layers[0].get("data"))["name"]
        rows = [
            {number: row[number] if place == 0 else "", label: line}
            for row in spec["datasets"][name]
            for place, line in enumerate(_lines(row[label], width - 20, _LEAST))
        ]
        spec["datasets"][name] = [{"line": place, **row} for place, row in enumerate(rows)]


def _set_widths(spec: Spec, width: float) -> None:
    for part in _parts(spec):
        is_panel = "width" in part and not str(part.get("name", "")).startswith(LISTING)
        if is_panel:
            part["width"] = width
        elif "width" in part:
            part["width"] = 20
