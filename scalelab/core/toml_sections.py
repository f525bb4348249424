"""Read TOML files and check them; say in one clear line which key is wrong."""

import copy
import tomllib
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import BaseModel, ValidationError, ValidationInfo, field_validator

from scalelab.core.errors import SpecError, nearest
from scalelab.core.hints import hint_for
from scalelab.core.locating import absolute
from scalelab.core.option_types import annotation_of, refused_number, section_of
from scalelab.core.toml_text import toml_text

__all__ = [
    "Numbers",
    "Section",
    "checked",
    "first_comment",
    "has_key",
    "parse_set",
    "read_toml",
    "with_dotted_keys",
]

_M = TypeVar("_M", bound=BaseModel)
# Of a longer value a message shows the beginning.
_LONGEST = 80


class Numbers(BaseModel, frozen=True):
    """A model whose number fields take what a ledger can hold."""

    @field_validator("*", mode="before")
    @classmethod
    def _bounded(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        why = refused_number(value, cls.model_fields[info.field_name].annotation)
        if why is not None:
            raise ValueError(why)
        return value


class Section(Numbers, frozen=True, extra="forbid", use_attribute_docstrings=True):
    """A TOML section whose keys are all known."""


def read_toml(path: Path) -> dict[str, Any]:
    """The sections of a TOML file. Raises SpecError with the line that is wrong.

    The files of parts that it names are made absolute: they start at the folder of the file.
    """
    try:
        tables = copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))
    except UnicodeDecodeError as error:
        what, hint = "not a text file", "write a study or a run profile in TOML"
        if path.read_bytes()[8:12] == b"DUCK":
            what, hint = "a ledger (a DuckDB file), not a TOML file", f"scalelab report {path}"
        raise SpecError(f"cannot read {path}: it is {what}", hint) from error
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"invalid TOML: {path}: {error}") from error
    return absolute(tables, path.parent.absolute())


@lru_cache(maxsize=64)
def _parsed(text: str) -> dict[str, Any]:
    return tomllib.loads(text)


def first_comment(path: Path) -> str:
    """The comment at the top of a TOML file, which says what the file is for; "" without one."""
    comment: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    return " ".join(" ".join(comment).split())


def parse_set(text: str) -> tuple[str, Any]:
    """`KEY=VALUE` to a key and a TOML value, or a bare word where it is none. Raises SpecError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SpecError(f"--set takes KEY=VALUE, got {text!r}", "write for example batch.size=256")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def with_dotted_keys(keys: Mapping[str, Any]) -> dict[str, Any]:
    """`batch.size` in place of a table `batch` that holds `size`; keys with dots already win.

    A table without keys stays, so that its name is checked.
    """
    spelt: dict[str, Any] = {}
    for key, value in keys.items():
        if isinstance(value, dict) and value:
            inner = with_dotted_keys(cast("dict[str, Any]", value))
            spelt = {f"{key}.{name}": each for name, each in inner.items()} | spelt
        else:
            spelt[key] = value
    return spelt


def has_key(sections: Any, key: str) -> bool:
    """Whether a dotted key stands in tables, whatever it holds."""
    name, _, rest = key.partition(".")
    if not isinstance(sections, dict) or name not in sections:
        return False
    return not rest or has_key(sections[name], rest)


def checked(model: type[_M], sections: dict[str, Any], where: str) -> _M:
    """`sections` as `model`, or one clear line about the first thing that is wrong with them."""
    try:
        return model.model_validate(sections)
    except ValidationError as error:
        raise _first_fault(model, error, where) from error


def _first_fault(model: type[BaseModel], error: ValidationError, where: str) -> SpecError:
    """What was given, and what to write in its place."""
    fault = error.errors()[0]
    path, annotation, known, meaning = _place(model, fault["loc"])
    key = ".".join(path)
    if fault["type"] == "extra_forbidden":
        unknown = str(fault["loc"][-1])
        if not path and unknown.partition(".")[0] in known:
            line = f"{unknown} = {toml_text(fault['input'])}"
            return SpecError(f"{where}: the key {unknown!r} is in quotes", f"write {line}")
        hint = nearest(".".join([*path, unknown]), (".".join([*path, name]) for name in known))
        return SpecError(f"{where}: unknown key {'.'.join([*path, unknown])!r}", hint)
    if fault["type"] == "missing":
        return SpecError(f"{where}: the key {key!r} is missing", f"add {key} = ...")
    if fault["type"] == "value_error":
        problem = fault["msg"].removeprefix("Value error, ")
        listed = ".".join(part for part in path if not part.isdigit())
        return SpecError(
            f"{where}: {key} = {_shown(fault['input'])}: {problem}", f"see scalelab keys {listed}"
        )
    message = f"{where}: {key} = {_shown(fault['input'])} is not allowed"
    return SpecError(message, hint_for(annotation, fault["input"], key, meaning))


def _shown(value: Any) -> str:
    """A value in a message; of a whole section only its beginning."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."


def _place(
    model: type[BaseModel], location: tuple[int | str, ...]
) -> tuple[list[str], Any, list[str], str]:
    """The key that a fault lies at, what it allows, the keys of the section around it, and what
    the key means.
    """
    path: list[str] = []
    meaning = ""
    annotation: Any = model
    for part in location:
        section = section_of(annotation)
        if isinstance(part, int):
            path.append(str(part))
        elif section is not None and part in section.model_fields:
            model = section
            path.append(part)
            annotation = annotation_of(section.model_fields[part])
            meaning = (section.model_fields[part].description or "").rstrip(".")
    inner = section_of(annotation)
    return path, annotation, list((inner or model).model_fields), meaning
