"""Folders of parts in, what a person can name out: summaries, options, sources; imports no part."""

import ast
from dataclasses import dataclass
from pathlib import Path

from scalelab.core import plugins
from scalelab.core.presets import find_preset, preset_names

__all__ = ["PRESET_KINDS", "Part", "PartOption", "list_kind"]

# The word that people type, and the folder of presets it means.
PRESET_KINDS = {"profiles": "runs", "devices": "devices", "studies": "studies"}


@dataclass(frozen=True, kw_only=True)
class PartOption:
    """A keyword of a part, its type and its default as they are written in the source."""

    name: str
    annotation: str
    default: str


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
        name=name, summary=sentence, options=_options(tree, file), source=source, file=str(file)
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


def _options(tree: ast.Module, file: Path) -> tuple[PartOption, ...]:
    part = _exported_class(tree)
    return tuple(_class_options(part, tree, file).values()) if part else ()


def _exported_class(tree: ast.Module) -> ast.ClassDef | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
            return _class(tree, names[0])
    return None


def _class(tree: ast.Module, name: str) -> ast.ClassDef | None:
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef))
    return next((node for node in classes if node.name == name), None)


def _class_options(part: ast.ClassDef, tree: ast.Module, file: Path) -> dict[str, PartOption]:
    for node in part.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return {option.name: option for option in _keywords(node.args)}
    found: dict[str, PartOption] = {}
    for base in part.bases:
        found |= _inherited(ast.unparse(base), tree, file)
    for node in part.body:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            annotation = ast.unparse(node.annotation)
            if not annotation.startswith("ClassVar"):
                option = _option(ast.unparse(node.target), node.annotation, node.value)
                found[option.name] = option
    return found


def _inherited(base: str, tree: ast.Module, file: Path) -> dict[str, PartOption]:
    local = _class(tree, base)
    if local is not None:
        return _class_options(local, tree, file)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and base in {alias.name for alias in node.names}:
            neighbour = file.parent / f"{(node.module or '').rpartition('.')[2]}.py"
            if neighbour.is_file():
                other = ast.parse(neighbour.read_text(encoding="utf-8"))
                inherited = _class(other, base)
                return _class_options(inherited, other, neighbour) if inherited else {}
    return {}


def _keywords(arguments: ast.arguments) -> list[PartOption]:
    plain = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    pairs = [*zip(plain, arguments.defaults, strict=True)]
    pairs += [
        (argument, default)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    ]
    return [_option(argument.arg, argument.annotation, default) for argument, default in pairs]


def _option(name: str, annotation: ast.expr | None, default: ast.expr) -> PartOption:
    shown = ast.unparse(annotation) if annotation is not None else ""
    return PartOption(name=name, annotation=shown, default=ast.unparse(default))


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
