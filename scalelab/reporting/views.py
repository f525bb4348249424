"""Split a chart into the views of the page, which fit its width and follow its selection."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from scalelab.findings.differences import KEY, Key

__all__ = ["LISTING", "PANEL_WIDTH", "PRINTED", "Keys", "Legend", "View", "Views", "split"]

# So begins the name of a table of texts below a printed chart; the page shows it as a table.
LISTING = "listing"
# Words that were placed for the width of a printed chart; a narrow page leaves them out.
PRINTED = "printed"
# A parameter of a chart: the width of its panels. On the page a view has that of its place.
PANEL_WIDTH = "panel_width"
# Along these axes a range may be dragged.
_RANGES = ("peak_bytes", "train_s")
_CONCATS = ("vconcat", "hconcat", "concat")
_FADED = 0.08
_PALE_MARKS = ("point", "circle", "square", "tick")
Spec = dict[str, Any]


class Keys:
    """Number the configurations of a page: a number is shorter than what names one."""

    def __init__(self) -> None:
        self._numbers: dict[Key, int] = {}

    def of(self, key: Key) -> int:
        """The number of a configuration, the same on the whole page."""
        return self._numbers.setdefault(key, len(self._numbers))


@dataclass(frozen=True, kw_only=True)
class Legend:
    """What the values of one column look like: label, colour and dashes of each."""

    column: str
    entries: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True, kw_only=True)
class View:
    """One panel, or in its place the rows of a table of texts."""

    group: str
    title: str
    spec: Spec
    listing: tuple[dict[str, Any], ...] = ()


@dataclass(kw_only=True)
class Views:
    """A chart as the page shows it."""

    title: str
    notes: list[str]
    views: list[View] = field(default_factory=list)
    legends: dict[str, Legend] = field(default_factory=dict)
    datasets: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def split(spec: Spec, keys: Keys) -> Views:
    """The panels of `spec`, a chart as Altair writes it."""
    title, notes = _title(spec)
    found = Views(title=title, notes=notes)
    config = spec.get("config", {})
    datasets = spec.get("datasets", {})
    params = [one for one in spec.get("params", []) if "select" not in one]
    keyed = {name for name, rows in datasets.items() if rows and rows[0].keys() >= set(KEY)}
    for group, leaf in _leaves(spec, "", is_top=True):
        own_title, _ = ("", []) if leaf is spec else _title(leaf)
        if str(leaf.get("name", "")).startswith(LISTING):
            view = View(group=group, title="", spec={}, listing=_listing(leaf, datasets))
        else:
            prepared = _prepared({**leaf, "params": params}, config, keyed, found.legends)
            _set_height(prepared, datasets)
            view = View(group=group, title=own_title, spec=prepared)
        found.views.append(view)
    text = json.dumps([view.spec for view in found.views])
    used = {name for view in found.views for name in _names(view.spec)}
    for name in sorted(used & datasets.keys()):
        found.datasets[name] = _slim(datasets[name], text, keys if name in keyed else None)
    return found


def _title(spec: Spec) -> tuple[str, list[str]]:
    title = spec.get("title") or ""
    if isinstance(title, str):
        return title, []
    notes = title.get("subtitle") or []
    text = title.get("text", "")
    return (
        " ".join(text) if isinstance(text, list) else text,
        [notes] if isinstance(notes, str) else list(notes),
    )


def _leaves(spec: Spec, group: str, *, is_top: bool = False) -> Iterator[tuple[str, Spec]]:
    """The views without views beside each other, with the nearest heading and data above each."""
    for kind in _CONCATS:
        if kind in spec:
            heading = "" if is_top else _title(spec)[0]
            for inner in spec[kind]:
                above = {"data": spec["data"]} if "data" in spec else {}
                yield from _leaves(above | inner, heading or group)
            return
    yield group, spec


def _prepared(leaf: Spec, config: Spec, keyed: set[str], legends: dict[str, Legend]) -> Spec:
    """A view that fills its container, fades what is not picked, and has no legend of its own."""
    own = json.loads(json.dumps({k: v for k, v in leaf.items() if k not in ("datasets", "config")}))
    for name in ("title", "$schema"):
        own.pop(name, None)
    own["width"] = "container"
    own["autosize"] = {"type": "fit-x", "contains": "padding"}
    given = [
        {"name": PANEL_WIDTH, "expr": "width"} if one["name"] == PANEL_WIDTH else one
        for one in own["params"]
    ]
    own["params"] = [*given, {"name": "picked", "value": None}]
    own["config"] = config
    brushed = False
    for unit, data in _units(own, None):
        _take_legends(unit, legends)
        if data in keyed:
            _fade(unit)
            brushed = brushed or _brush(unit)
    return own


def _set_height(spec: Spec, datasets: dict[str, Any]) -> None:
    """In place of a height of each row that of all: Vega fits only known heights to a width."""
    height = spec.get("height")
    if not isinstance(height, dict):
        return
    units = list(_units(spec, None))
    names = {
        row[unit["encoding"]["y"]["field"]]
        for unit, data in units
        if data is not None and "field" in unit.get("encoding", {}).get("y", {})
        for row in datasets[data]
    }
    spec["height"] = height["step"] * max(1, len(names))


def _units(spec: Spec, data: str | None) -> Iterator[tuple[Spec, str | None]]:
    data = spec.get("data", {}).get("name", data)
    if "layer" in spec:
        for inner in spec["layer"]:
            yield from _units(inner, data)
    elif "mark" in spec:
        yield spec, data


def _mark(unit: Spec) -> Spec:
    mark = unit["mark"]
    return {"type": mark} if isinstance(mark, str) else mark


def _fade(unit: Spec) -> None:
    """What is not picked is pale; a line that joins several configurations stays."""
    encoding = unit.setdefault("encoding", {})
    mark = _mark(unit)
    if mark["type"] in ("line", "area") and "detail" not in encoding:
        return
    usual = mark.get("opacity", 0.7 if mark["type"] in _PALE_MARKS else 1)
    opacity = encoding.setdefault("opacity", {"value": usual})
    others = opacity.get("condition", [])
    others = others if isinstance(others, list) else [others]
    opacity["condition"] = [{"test": "picked && !picked[datum.key]", "value": _FADED}, *others]


def _brush(unit: Spec) -> bool:
    across = unit["encoding"].get("x", {})
    if _mark(unit)["type"] != "point" or across.get("field") not in _RANGES:
        return False
    select = {"type": "interval", "encodings": ["x"]}
    unit["params"] = [*unit.get("params", []), {"name": "brush", "select": select}]
    return True


def _take_legends(unit: Spec, legends: dict[str, Legend]) -> None:
    encoding = unit.get("encoding", {})
    for channel in ("color", "fill", "shape", "strokeDash", "opacity"):
        if "field" in encoding.get(channel, {}):
            if channel == "color" and encoding[channel].get("legend", 0) is not None:
                _add_legend(encoding, legends)
            encoding[channel]["legend"] = None


def _add_legend(encoding: Spec, legends: dict[str, Legend]) -> None:
    color = encoding["color"]
    names = color.get("scale", {}).get("domain")
    colours = color.get("scale", {}).get("range")
    if not isinstance(names, list) or not isinstance(colours, list):
        return
    dashes = encoding.get("strokeDash", {}).get("scale", {}).get("range") or [[]] * len(names)
    before = legends.get(color["field"])
    entries = {entry[0]: entry for entry in (before.entries if before else ())}
    for name, colour, dash in zip(names, colours, dashes, strict=False):
        if dash or str(name) not in entries:  # points of a line have no dashes
            entries[str(name)] = (str(name), colour, " ".join(map(str, dash)))
    legends[color["field"]] = Legend(column=color["field"], entries=tuple(entries.values()))


def _names(spec: Any) -> Iterator[str]:
    """Names of the data sets that a view uses."""
    if isinstance(spec, list):
        for inner in spec:
            yield from _names(inner)
    elif isinstance(spec, dict):
        if isinstance(spec.get("data"), dict) and "name" in spec["data"]:
            yield spec["data"]["name"]
        for key, inner in spec.items():
            if key != "config":
                yield from _names(inner)


def _listing(leaf: Spec, datasets: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    name = next(_names(leaf))
    rows = [{k: v for k, v in row.items() if k != "line"} for row in datasets[name]]
    return tuple(rows)


def _slim(rows: list[dict[str, Any]], text: str, keys: Keys | None) -> list[dict[str, Any]]:
    """The columns that the views name, and the number of the configuration."""
    kept = [name for name in rows[0] if f'"{name}' in text or f"datum.{name}" in text]
    slim = [{name: row[name] for name in kept if row[name] is not None} for row in rows]
    if keys is not None:
        for one, row in zip(slim, rows, strict=True):
            one["key"] = keys.of(tuple(row[name] for name in KEY))
    return slim
