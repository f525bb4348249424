"""Spell out what a study may write shortly: ranges of axes, and lists within [[cells]]."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast, get_origin

from scalelab.core.errors import SpecError, nearest
from scalelab.core.number_of_runs import MOST_RUNS
from scalelab.core.option_types import section_of
from scalelab.core.parts import list_kind
from scalelab.core.run_sections import PartSpec
from scalelab.core.spec import RunSpec
from scalelab.core.study_shapes import check_axis
from scalelab.core.toml_text import key_text, toml_text

__all__ = ["with_ranges", "without_lists"]

# Steps of a fifth in the logarithm over two decades: finer ones are lost in the noise of seeds.
_VALUES = 25
_KEYS = {"min", "max", "log"}
_EXAMPLE = "write {min = 1e-4, max = 1e-2, log = true}"


def with_ranges(sections: dict[str, Any], where: str) -> dict[str, Any]:
    """A study's sections with every range among its axes spelt out. Raises SpecError.

    A key whose dots are not quoted is the same as one in quotes.
    """
    if "axes" not in sections:
        return sections
    axes = dict(_flat("", cast("dict[str, Any]", sections["axes"]), where))
    spelt: dict[str, Any] = {}
    for key, value in axes.items():
        if isinstance(value, dict):
            if "search" not in sections:
                raise SpecError(
                    f"{where}: the axis {key!r} is a range, and the study has no [search]",
                    "add [search], or list the values of the axis",
                )
            spelt[key] = _values(cast("dict[str, Any]", value), f"{where}: axes.{key}")
        else:
            check_axis(key, value, where, takes_list=_takes_list(key))
            spelt[key] = value
    return {**sections, "axes": spelt}


def _flat(before: str, table: dict[str, Any], where: str) -> Iterator[tuple[str, Any]]:
    """The axes of a table with those of the tables in it; a range stays as it is."""
    for name, value in table.items():
        key = f"{before}{name}"
        inner = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
        if not inner or not _KEYS.isdisjoint(inner):
            yield key, value
        elif "." in name:
            listed: list[Any] = [each for each in inner.values() if isinstance(each, list)]
            hint = f"write {key_text(key)} = {toml_text(listed[0] if listed else [32, 64])}"
            raise SpecError(f"{where}: the axis {key!r} is a table, not a list", hint)
        else:
            yield from _flat(f"{key}.", inner, where)


def without_lists(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each of the cells once for every combination of the values in its lists.

    A key that itself takes a list, such as `negatives`, is spelt out only where it has a list of
    lists. Raises ValueError for an empty list, and for lists of too many combinations.
    """
    spelt: list[dict[str, Any]] = []
    for cell in cells:
        lists = [_listed(key, value) for key, value in cell.items()]
        if len(spelt) + math.prod(map(len, lists)) > MOST_RUNS:
            raise ValueError(f"its lists come to more than {MOST_RUNS:,} combinations")
        spelt += [dict(zip(cell, values, strict=True)) for values in itertools.product(*lists)]
    return spelt


def _listed(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        return [value]
    values = cast("list[Any]", value)
    if _takes_list(key) and not (values and all(isinstance(each, list) for each in values)):
        return [values]
    if not values:
        raise ValueError(f"{key!r} has an empty list: give it at least one value")
    return values


def _takes_list(key: str) -> bool:
    """Does this key of a run, such as `measure.probes`, itself hold a list?"""
    section: Any = RunSpec
    annotation: Any = None
    for name in key.split("."):
        if section is None or name not in section.model_fields:
            break
        annotation = section.model_fields[name].annotation
        section = section_of(annotation)
    else:
        return _is_list(annotation)
    if section is None or not issubclass(section, PartSpec):
        return False
    options = [option for part in list_kind(section.kind) for option in part.options]
    return any(_is_list(one.annotation) for one in options if one.name == key.rpartition(".")[2])


def _is_list(annotation: Any) -> bool:
    return get_origin(annotation) in (list, tuple)


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
