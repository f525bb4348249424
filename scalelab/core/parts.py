"""List the parts and presets that can be named, without importing them."""

import ast
from dataclasses import dataclass
from pathlib import Path

from scalelab.core import plugins
from scalelab.core.part_options import PartOption, read_options
from scalelab.core.presets import find_preset, preset_names

__all__ = ["PRESET_KINDS", "Part", "list_kind"]

# The word that people type, and the folder of presets it means.
PRESET_KINDS = {"profiles": "runs", "devices": "devices", "studies": "studies"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part that can be named. `source` is the paper or code that its docstring names, or ""."""

    name: str
    summary: str
    options: tuple[PartOption, ...]
    source: str
    file: str


def list_kind(kind: str) -> tuple[Part, ...]:
    """The parts of a kind of plugin, or the presets of `profiles`, `devices` or `studies`."""
    if kind in PRESET_KINDS:
        folder = PRESET_KINDS[kind]
        return tuple(_preset(folder, name) for name in preset_names(folder))
    return tuple(_part(_file_of(kind, name), name) for name in plugins.available(kind))


def _file_of(kind: str, name: str) -> Path:
    _, *names = plugins.module_of(kind, name).split(".")
    return Path(__file__).parent.parent.joinpath(*names).with_suffix(".py")


def _part(file: Path, name: str) -> Part:
    # Read, not imported: a list of losses must not wait for torch, nor need every optional package.
    if not file.is_file():
        file = file.with_suffix("") / "__init__.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    sentence, source = _split_source(ast.get_docstring(tree) or "")
    return Part(
        name=name, summary=sentence, options=read_options(file), source=source, file=str(file)
    )


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
    # The first comment of a preset says what it is for.
    lines = path.read_text(encoding="utf-8").splitlines()
    comment: list[str] = []
    for line in lines:
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    summary = " ".join(" ".join(comment).split())
    return Part(name=name, summary=summary, options=(), source=str(path), file=str(path))
