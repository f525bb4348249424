"""Check that the tables of a study have their shape, and say what to write in their place."""

import tomllib
from collections.abc import Collection, Mapping
from typing import Any, cast

from scalelab.core.errors import SpecError
from scalelab.core.option_types import section_of
from scalelab.core.run_sections import PartSpec
from scalelab.core.spec import RunSpec
from scalelab.core.toml_sections import with_dotted_keys
from scalelab.core.toml_text import key_text, toml_text

__all__ = ["check_axis", "check_shapes"]

_FIXED = "cells"
_EXAMPLE = '"batch.size" = '


def check_shapes(sections: Mapping[str, Any], study_keys: Collection[str], where: str) -> None:
    """Raises SpecError where `[axes]`, `[set]` or `[[cells]]` have another shape, and where keys
    stand elsewhere than they belong.
    """
    run_keys = RunSpec.model_fields
    for name, example in (("axes", f"{_EXAMPLE}[32, 64]"), ("set", f"{_EXAMPLE}32")):
        if name in sections and not isinstance(sections[name], dict):
            hint = f"write [{name}] on a line, and below it {example}"
            if _holds_tables(sections[name]):
                hint = f"write [{name}] with one pair of brackets: there is one"
            raise _wrong(where, name, sections[name], hint)
    given = sections.get(_FIXED, [])
    if not isinstance(given, list):
        hint = "write [[cells]] with two pairs of brackets, once for each combination"
        raise _wrong(where, _FIXED, given, hint)
    fixed = cast("list[dict[str, Any]]", given)
    if fixed and not _holds_tables(fixed):
        hint = 'write [[cells]] for each combination, and below it its keys: "loss.name" = "bce"'
        raise _wrong(where, _FIXED, fixed, hint)
    tables = [("[axes]", sections.get("axes", {})), ("[set]", sections.get("set", {}))]
    for name, table in [*tables, *(("[[cells]]", each) for each in fixed)]:
        for key, value in table.items():
            if key in run_keys:
                _check_section(key, value, f"{where}: {name}", is_axis=name == "[axes]")
            elif key in study_keys:
                raise SpecError(
                    f"{where}: {key!r} in {name} is a key of the study, not of a run",
                    f"write {key} = {toml_text(value)} above the first line with [ and ]: "
                    "TOML takes it as part of the table that it stands below",
                )
    for key, value in sections.items():
        if key not in study_keys and key.partition(".")[0] in run_keys:
            # Its dots may have had no quotes.
            inner, one = next(iter(with_dotted_keys({key: value}).items()), (key, value))
            table = "axes" if isinstance(one, list) else "set"
            raise SpecError(
                f"{where}: {key!r} is a key of a run, not of the study",
                f"write it below a line with [{table}]: {_line(inner, one)}",
            )


def _check_section(key: str, value: Any, where: str, *, is_axis: bool) -> None:
    """Raises SpecError where a section of a run has a word or a number in the place of its keys."""
    values = cast("list[Any]", value) if is_axis and isinstance(value, list) else [value]
    if all(isinstance(each, dict | list) for each in values):
        return
    section = section_of(RunSpec.model_fields[key].annotation)
    if section is None:
        return
    named = (
        section.name_field if issubclass(section, PartSpec) else next(iter(section.model_fields))
    )
    if key == "data" and "synthetic" not in values:
        named = "path"
    raise SpecError(
        f"{where}: {key} is a section with keys of its own",
        f"write {_line(f'{key}.{named}', values if is_axis else value)}",
    )


def check_axis(key: str, value: Any, where: str, *, takes_list: bool) -> None:
    """Raises SpecError where the values of an axis are no list, or a list in a list."""
    if not isinstance(value, list):
        hint = f"write {_line(key, _as_values(value))}"
        raise SpecError(f"{where}: the axis {_line(key, value)} is not a list", hint)
    values = cast("list[Any]", value)
    if len(values) == 1 and isinstance(values[0], list) and not takes_list:
        hint = f"write {_line(key, values[0])}"
        raise SpecError(f"{where}: the axis {_line(key, values)} is a list in a list", hint)


def _as_values(value: Any) -> list[Any]:
    """The list that somebody means who writes one value, or several in one pair of quotes."""
    if not isinstance(value, str):
        return [value]
    inner = value.strip().removeprefix("[").removesuffix("]")
    if "," not in inner:
        return [value]
    try:
        return tomllib.loads(f"values = [{inner}]")["values"]
    except tomllib.TOMLDecodeError:
        return [word.strip() for word in inner.split(",")]


def _line(key: str, value: Any) -> str:
    return f"{key_text(key)} = {toml_text(value)}"


def _holds_tables(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(each, dict) for each in cast("list[Any]", value)
    )


def _wrong(where: str, name: str, value: Any, hint: str) -> SpecError:
    return SpecError(f"{where}: {name} = {toml_text(value)} is not what {name} takes", hint)
