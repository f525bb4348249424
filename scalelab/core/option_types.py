"""Say in words which values an annotation allows, and why a given value is refused."""

import math
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

__all__ = [
    "Bounds",
    "allowed",
    "annotation_of",
    "meaning_of",
    "refused_number",
    "section_of",
    "words_of",
]

_LARGEST = 2**63 - 1

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


class Bounds(NamedTuple):
    """Limits of a number; None where there is none. `ge` and `le` are allowed themselves."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def of_whole_numbers(self) -> "Bounds":
        """The same limits for whole numbers, all of them allowed themselves."""
        low = self.ge if self.gt is None else self.gt + 1
        return Bounds(ge=low, le=self.le if self.lt is None else self.lt - 1)

    def __str__(self) -> str:
        """For people: "0 to 1", "above 0 and below 1", "at least 1", or ""."""
        if self.ge is not None and self.le is not None:
            return f"{_number(self.ge)} to {_number(self.le)}"
        low = "" if self.ge is None else f"at least {_number(self.ge)}"
        low = low if self.gt is None else f"above {_number(self.gt)}"
        high = "" if self.le is None else f"at most {_number(self.le)}"
        high = high if self.lt is None else f"below {_number(self.lt)}"
        return " and ".join(part for part in (low, high) if part)


def allowed(annotation: Any) -> str:
    """The values that an annotation allows: "auto or a whole number of at least 1"."""
    return _joined(dict.fromkeys(_alternatives(annotation)))


def meaning_of(annotation: Any) -> str:
    """The description that an `Annotated[..., Field(description=...)]` carries, or ""."""
    if get_origin(annotation) is not Annotated:
        return ""
    found = [extra.description for extra in _fields(annotation) if extra.description]
    return found[-1] if found else meaning_of(get_args(annotation)[0])


def annotation_of(field: FieldInfo) -> Any:
    """The annotation of a field, with the bounds that pydantic has taken out of it."""
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation


def refused_number(value: Any, annotation: Any) -> str | None:
    """What to write in place of a number that no key takes, or of a boolean where only numbers are
    taken; None for any other value.
    """
    # A ledger and numba hold 64 bits; a larger number would fail after hours of training.
    if isinstance(value, int) and abs(value) > _LARGEST:
        return f"write a whole number up to {_LARGEST}"
    if isinstance(value, float) and not math.isfinite(value):
        return "write a finite number"
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    if isinstance(value, bool) and plain in (int, float, int | None, float | None):
        return "write a number"
    return None


def words_of(annotation: Any) -> tuple[str, ...]:
    """The words that an annotation names, in their order; none where it takes any text."""
    if get_origin(annotation) is Literal:
        return tuple(word for word in get_args(annotation) if isinstance(word, str))
    if annotation is bool:
        return ("true", "false")
    return tuple(word for part in get_args(annotation) for word in words_of(part))


def section_of(annotation: Any) -> type[BaseModel] | None:
    """The section that an annotation holds: itself, or one of several, or none at all."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    found = (section_of(part) for part in get_args(annotation) if part is not Ellipsis)
    return next((section for section in found if section is not None), None)


def _alternatives(annotation: Any, bounds: Bounds | None = None) -> list[str]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _alternatives(arguments[0], _bounds(annotation) or bounds)
    if origin in (Union, types.UnionType):
        words = [part for part in arguments if get_origin(part) is Literal]
        rest = [part for part in arguments if get_origin(part) is not Literal]
        return [text for part in (*words, *rest) for text in _alternatives(part, bounds)]
    if origin is Literal:
        return ['""' if word == "" else str(word) for word in arguments]
    if annotation is type(None):
        return ["left out"]
    if origin in (tuple, list):
        inner = next((part for part in arguments if part is not Ellipsis), Any)
        return [f"a list of: {allowed(inner)}"]
    if origin in (dict, Mapping):
        return ["a section"]
    word = _WORDS.get(annotation, "a section" if hasattr(annotation, "model_fields") else "a value")
    if bounds and annotation is int:
        bounds = bounds.of_whole_numbers()
    return [f"{word}, {bounds}" if bounds and annotation in (int, float) else word]


def _bounds(annotation: Any) -> Bounds | None:
    found = Bounds()
    for extra in get_args(annotation)[1:]:
        for part in (extra, *getattr(extra, "metadata", ())):
            known = {n: getattr(part, n) for n in Bounds._fields if hasattr(part, n)}
            found = found._replace(**{n: value for n, value in known.items() if value is not None})
    return found if any(limit is not None for limit in found) else None


def _fields(annotation: Any) -> list[FieldInfo]:
    return [extra for extra in get_args(annotation)[1:] if isinstance(extra, FieldInfo)]


def _joined(texts: Mapping[str, None]) -> str:
    words = list(texts)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _number(value: float) -> str:
    # 2^31 - 1 and the like read better with their digits in groups.
    return f"{value:,}" if isinstance(value, int) and value > 9999 else f"{value:g}"
