"""Say what to write in place of a value that is not allowed."""

import difflib
from collections.abc import Iterator
from typing import Any, cast, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from scalelab.core.option_types import allowed, section_of, words_of
from scalelab.core.toml_text import toml_text

__all__ = ["hint_for"]


def hint_for(annotation: Any, value: Any, key: str = "", meaning: str = "") -> str:
    """What to write: a section, the same value in another shape, the nearest allowed word, or else
    all that is allowed. With a `key` lines are written in full; `meaning` explains what is text.
    """
    section = section_of(annotation)
    if section is not None:
        return _section_hint(section, annotation, value, key)
    for meant in _other_shapes(value):
        if key and _takes(annotation, meant):
            return f"write {key} = {toml_text(meant)}"
    is_text = isinstance(value, str)
    close = difflib.get_close_matches(value, words_of(annotation), n=1) if is_text else []
    if close:
        return f"did you mean {close[0]!r}?"
    hint = f"allowed: {allowed(annotation)}"
    if isinstance(value, list) and "a list" not in hint:
        hint += "; several values of a key of a run belong in [axes] of a study"
    if not is_text and _takes(annotation, "a"):
        hint = hint.replace("text", "text in quotes", 1) + (f" ({meaning})" if meaning else "")
    return hint


def _other_shapes(value: Any) -> Iterator[Any]:
    """What somebody may mean who forgets the brackets of a list, or writes some too many."""
    if not isinstance(value, dict):
        yield [value]
    if isinstance(value, list) and len(cast("list[Any]", value)) == 1:
        yield value[0]


def _takes(annotation: Any, value: Any) -> bool:
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


def _section_hint(section: type[BaseModel], annotation: Any, value: Any, key: str) -> str:
    """The header of the section, and what stands below it."""
    key = key.rstrip(".0123456789")  # one of several
    if isinstance(value, list) and get_origin(annotation) is None:
        return f"write [{key}] with one pair of brackets: there is one"
    header = f"[{key}]" if get_origin(annotation) not in (list, tuple) else f"[[{key}]]"
    named = getattr(section, "name_field", None)
    if named is not None and isinstance(value, str):
        # A word in place of a data set is rather its file than its format.
        named = "path" if "path" in section.model_fields and value != "synthetic" else named
        return f"write {header} on a line, and below it {named} = {toml_text(value)}"
    return f"write {header} on a line, and below it its keys: {', '.join(section.model_fields)}"
