"""List every key of a run and of a study: its default, the values allowed and what it means."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from scalelab.core.errors import SpecError, nearest
from scalelab.core.option_types import allowed, annotation_of, section_of, words_of
from scalelab.core.parts import list_kind
from scalelab.core.run_sections import PartSpec
from scalelab.core.spec import WORKED_OUT, RunSpec
from scalelab.core.study import StudySpec
from scalelab.core.toml_text import toml_text

__all__ = ["Key", "find_keys", "list_keys"]


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key. `parts` are those that take it, none where every run or study does.

    `place` is "run" or "study"; `default` is written as in TOML, "" where there is none;
    `words` are the allowed words, where only some are.
    """

    key: str
    place: str
    parts: tuple[str, ...]
    default: str
    allowed: str
    words: tuple[str, ...]
    meaning: str


def list_keys(prefix: str = "") -> tuple[Key, ...]:
    """The keys that begin with `prefix`, those of a run first. Imports no part."""
    found = (*_of_sections(RunSpec, "", "run"), *_of_sections(StudySpec, "", "study"))
    return _merged(key for key in found if key.key.startswith(prefix))


def find_keys(text: str) -> tuple[Key, ...]:
    """The keys that begin with `text`; where none does, those whose last part does, as `epochs`.

    Raises SpecError where there is neither.
    """
    every = list_keys()
    found = tuple(key for key in every if key.key.startswith(text))
    found = found or tuple(key for key in every if key.key.rpartition(".")[2].startswith(text))
    if not found:
        sections = {key.key.partition(".")[0] for key in every}
        raise SpecError(f"no key begins with {text!r}", nearest(text, sections))
    return found


def _merged(keys: Iterable[Key]) -> tuple[Key, ...]:
    """One row for each key that differs in more than the part that takes it."""
    rows: dict[Key, list[str]] = {}
    for key in keys:
        rows.setdefault(replace(key, parts=()), []).extend(key.parts)
    return tuple(replace(key, parts=tuple(parts)) for key, parts in rows.items())


def _of_sections(model: type[BaseModel], prefix: str, place: str) -> Iterator[Key]:
    for name, field in model.model_fields.items():
        if model is RunSpec and name in WORKED_OUT:
            continue
        section = section_of(field.annotation)
        if section is not None:
            yield from _of_sections(section, f"{prefix}{name}.", place)
            if issubclass(section, PartSpec):
                yield from _of_parts(section.kind, f"{prefix}{name}.", place)
            continue
        yield Key(
            key=prefix + name,
            place=place,
            parts=(),
            default=_default_of(field),
            allowed=allowed(annotation_of(field)),
            words=words_of(annotation_of(field)),
            meaning=(field.description or "").rstrip("."),
        )


def _of_parts(kind: str, prefix: str, place: str) -> Iterator[Key]:
    for part in list_kind(kind):
        for option in part.options:
            yield Key(
                key=prefix + option.name,
                place=place,
                parts=(part.name,),
                default=option.default,
                allowed=option.allowed,
                words=words_of(option.annotation),
                meaning=option.meaning,
            )


def _default_of(field: FieldInfo) -> str:
    value = None if field.is_required() else field.get_default(call_default_factory=True)
    return "" if value is None else toml_text(value)
