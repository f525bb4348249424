"""TOML files in, tables out, and one clear line about the first key that is wrong."""

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from scalelab.core.errors import SpecError, nearest

__all__ = ["Table", "checked", "parse_set", "read_toml"]

_M = TypeVar("_M", bound=BaseModel)


class Table(BaseModel, frozen=True, extra="forbid", use_attribute_docstrings=True):
    """A TOML table whose keys are all known."""


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises SpecError with the line that is wrong."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"cannot read {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"{path} is no valid TOML: {error}") from error


def parse_set(text: str) -> tuple[str, Any]:
    """`KEY=VALUE` to a key and a TOML value, or a bare word where it is none. Raises SpecError."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SpecError(f"--set takes KEY=VALUE, got {text!r}", "write for example batch.size=256")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()


def checked(model: type[_M], tables: dict[str, Any], where: str) -> _M:
    """`tables` as `model`, or one clear line about the first thing that is wrong with them."""
    try:
        return model.model_validate(tables)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _known_keys(model, first["loc"])
            raise SpecError(
                f"{where}: unknown key {key!r}", nearest(key.rpartition(".")[2], known)
            ) from error
        if first["type"] == "missing":
            raise SpecError(f"{where}: the key {key!r} is missing", "add it") from error
        raise SpecError(
            f"{where}: {key} = {first['input']!r}: {first['msg']}", "give another value"
        ) from error


def _known_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    for part in location[:-1]:
        annotation = (
            model.model_fields[str(part)].annotation if str(part) in model.model_fields else None
        )
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            model = annotation
    return list(model.model_fields)
