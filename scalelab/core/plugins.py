"""Load parts by name and check their options: a part is a class, its constructor's keywords are
its options.
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, get_type_hints

from pydantic import ConfigDict, PydanticSchemaGenerationError, TypeAdapter, ValidationError

from scalelab.core import sources
from scalelab.core.errors import SpecError, nearest
from scalelab.core.hints import hint_for
from scalelab.core.loading import import_part
from scalelab.core.locating import KINDS, Place, available, locate, short, singular
from scalelab.core.option_types import refused_number

__all__ = ["KINDS", "Option", "available", "check_options", "load", "made", "options"]


@dataclass(frozen=True, kw_only=True)
class Option:
    """A keyword of a part's constructor that has a default."""

    name: str
    annotation: Any
    default: Any


def load(kind: str, name: str) -> type[Any]:
    """The class of one part, wherever it comes from.

    Raises SpecError for an unknown name and for a part that is broken, MissingExtra for a missing
    package.
    """
    return _load(*_key(kind, name))


def options(kind: str, name: str) -> Mapping[str, Option]:
    """The options of a part: keywords of its constructor that have a default."""
    return _options(*_key(kind, name))


def made(kind: str, name: str, **given: Any) -> Any:
    """The part, made with these options. Raises SpecError where it refuses them."""
    part = load(kind, name)
    try:
        return part(**given)
    except ValueError as error:
        raise SpecError(f"{singular(kind)} {name!r}: {error}") from error
    except TypeError as error:
        message = f"{locate(kind, name)} cannot be made from its options: {error}"
        raise SpecError(message, "every option is a keyword with a default") from error


def _key(kind: str, name: str) -> tuple[Place, str]:
    """What stays the same as long as the part does: its place, and what was in its files."""
    place = locate(kind, name)
    return place, "" if place.in_tree else sources.digest(place)


@cache
def _load(place: Place, _digest: str) -> type[Any]:
    return import_part(place)


@cache
def _options(place: Place, digest: str) -> Mapping[str, Option]:
    part = _load(place, digest)
    try:
        hints = get_type_hints(part.__init__, include_extras=True)
        parameters = inspect.signature(part).parameters
    except (NameError, TypeError, ValueError) as error:
        raise SpecError(f"{place}: its options cannot be read: {error}") from error
    found = {
        key: Option(name=key, annotation=hints.get(key, Any), default=parameter.default)
        for key, parameter in parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    for option in found.values():
        try:
            json.dumps(option.default)
        except TypeError as error:
            raise SpecError(
                f"{place}: no TOML file can hold the default of its option {option.name!r}",
                "options are numbers, words, booleans and lists of them",
            ) from error
    return MappingProxyType(found)


# Grids check thousands of specs of the same few parts.
@cache
def _adapter(place: Place, digest: str, key: str) -> TypeAdapter[Any]:
    annotation = _options(place, digest)[key].annotation
    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=False))
    except PydanticSchemaGenerationError as error:
        raise SpecError(
            f"{place}: its option {key!r} has a type that no TOML file can hold: {annotation}",
            "options are numbers, words, booleans and lists of them",
        ) from error


def check_options(kind: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """`given` with every value checked against the constructor's annotation; defaults filled in.

    Raises SpecError for an unknown option or a value of the wrong type.
    """
    place, digest = _key(kind, name)
    known = _options(place, digest)
    for key in given:
        if key not in known:
            hint = nearest(key, known) if known else "it takes none"
            raise SpecError(f"{name!r} has no option {key!r}", hint)
    checked = {key: option.default for key, option in known.items()}
    for key, value in given.items():
        message = f"{short(name)}: {key} = {value!r} is not allowed"
        if (why := refused_number(value, known[key].annotation)) is not None:
            raise SpecError(message, why)
        try:
            checked[key] = _adapter(place, digest, key).validate_python(value)
        except ValidationError as error:
            raise SpecError(message, hint_for(known[key].annotation, value)) from error
    return checked
