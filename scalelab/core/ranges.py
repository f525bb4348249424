"""Turn a range of an axis, {min, max, log}, into the values that a search chooses among."""

import math
from typing import Any, cast

from scalelab.core.errors import SpecError, nearest

__all__ = ["with_ranges"]

# Steps of a fifth in the logarithm over two decades: finer ones are lost in the noise of seeds.
_VALUES = 25
_KEYS = ("min", "max", "log")
_EXAMPLE = "write {min = 1e-4, max = 1e-2, log = true}"


def with_ranges(sections: dict[str, Any], where: str) -> dict[str, Any]:
    """A study's sections with every range among its axes spelt out. Raises SpecError."""
    if not isinstance(sections.get("axes"), dict):
        return sections
    axes = cast("dict[str, Any]", sections["axes"])
    spelt = {
        key: _values(cast("dict[str, Any]", value), f"{where}: axes.{key}")
        if isinstance(value, dict)
        else value
        for key, value in axes.items()
    }
    ranges = [key for key, value in axes.items() if isinstance(value, dict)]
    if ranges and "search" not in sections:
        raise SpecError(
            f"{where}: the axis {ranges[0]!r} is a range, and the study has no [search]",
            "add [search], or list the values of the axis",
        )
    return {**sections, "axes": spelt}


def _values(given: dict[str, Any], where: str) -> list[float] | list[int]:
    for key in given:
        if key not in _KEYS:
            raise SpecError(f"{where}: a range has no key {key!r}", nearest(key, _KEYS))
    low, high, in_log = given.get("min"), given.get("max"), given.get("log", False)
    numbers: list[int | float] = [
        n for n in (low, high) if isinstance(n, int | float) and not isinstance(n, bool)
    ]
    if len(numbers) < 2 or not all(map(math.isfinite, numbers)) or not isinstance(in_log, bool):
        raise SpecError(f"{where}: a range needs the numbers min and max", _EXAMPLE)
    first, last = numbers
    if first >= last:
        raise SpecError(f"{where}: min = {first} is not below max = {last}", _EXAMPLE)
    if in_log and first <= 0:
        raise SpecError(f"{where}: min = {first} has no logarithm", "take out log, or raise min")
    whole = isinstance(first, int) and isinstance(last, int)
    shares = [step / (_VALUES - 1) for step in range(1, _VALUES - 1)]
    if in_log:
        between = [first * (last / first) ** share for share in shares]
    else:
        between = [first + (last - first) * share for share in shares]
    if whole:
        return sorted({first, *map(round, between), last})
    # Three digits, so that labels can be read; the ends stay as they are written.
    return list(dict.fromkeys([first, *(float(f"{value:.3g}") for value in between), last]))
