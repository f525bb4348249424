"""List the parts and presets that can be named, without importing them."""

import ast
from dataclasses import dataclass

from scalelab.core import sources
from scalelab.core.errors import SpecError, nearest
from scalelab.core.locating import KINDS, Place, available, locate, short
from scalelab.core.part_options import PartOption, read_options
from scalelab.core.presets import find_preset, preset_names
from scalelab.core.toml_sections import first_comment

__all__ = ["PRESET_KINDS", "Part", "list_kind", "list_kinds"]

# The word that people type, and the folder of presets it means.
PRESET_KINDS = {"profiles": "runs", "devices": "devices", "studies": "studies"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part that can be named. `source` is the paper or code that its docstring names, or "".

    `origin` is the package and version that it is from, or its file.
    """

    name: str
    summary: str
    options: tuple[PartOption, ...]
    source: str
    file: str
    origin: str


def list_kinds(kind: str | None, only: str | None = None) -> dict[str, tuple[Part, ...]]:
    """Parts and presets by kind: of all kinds, of one, or `only` one part of it.

    Raises SpecError for an unknown kind.
    """
    known = (*KINDS, *PRESET_KINDS)
    if kind is not None and kind not in known:
        raise SpecError(f"no kind of part called {kind!r}", nearest(kind, known))
    return {each: list_kind(each, only) for each in known if kind in (None, each)}


def list_kind(kind: str, only: str | None = None) -> tuple[Part, ...]:
    """The parts of a kind of plugin, or the presets of `profiles`, `devices` or `studies`.

    `only` names one of them, or a part that no list has: `package.module:Class`, `./file.py:Class`.
    Raises SpecError where that one is not there.
    """
    if kind in PRESET_KINDS:
        folder = PRESET_KINDS[kind]
        names = preset_names(folder) if only is None else [only]
        return tuple(_preset(folder, name) for name in names)
    if only is not None:
        return (_part(locate(kind, only)),)
    return tuple(_part_or_reason(kind, name) for name in available(kind))


def _part_or_reason(kind: str, name: str) -> Part:
    """One broken package must not hide the parts of all others."""
    try:
        return _part(locate(kind, name))
    except SpecError as error:
        summary = f"Cannot be used: {error.message}."
        return Part(name=name, summary=summary, options=(), source="", file="", origin="")


def _part(place: Place) -> Part:
    # Read, not imported: a list of losses must not wait for torch, nor need every optional package.
    sources.digest(place)  # says whose fault it is where the source is not Python
    tree = ast.parse(place.file.read_text(encoding="utf-8"))
    sentence, source = _split_source(_docstring(tree, place.attribute))
    return Part(
        name=short(place.name),
        summary=sentence,
        options=read_options(place.file, place.attribute),
        source=source,
        file=str(place.file),
        origin=str(place.origin),
    )


def _docstring(tree: ast.Module, attribute: str) -> str:
    """That of the class, where a file may hold several; else that of the file."""
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef))
    named = next((node for node in classes if node.name == attribute), None)
    return (named and ast.get_docstring(named)) or ast.get_docstring(tree) or ""


def _split_source(docstring: str) -> tuple[str, str]:
    first = " ".join(docstring.split("\n\n")[0].split())
    for line in docstring.splitlines():
        if line.strip().startswith("Source:"):
            return first, line.strip().removeprefix("Source:").strip()
    body = first.rstrip(".")
    if body.endswith(")") and any(character.isdigit() for character in body.rpartition("(")[2]):
        sentence, _, source = body.rpartition("(")
        return f"{sentence.strip()}.", source.rstrip(")")
    return first, ""


def _preset(kind: str, name: str) -> Part:
    path = find_preset(kind, name)
    summary = first_comment(path)
    return Part(
        name=name, summary=summary, options=(), source=str(path), file=str(path), origin=str(path)
    )
