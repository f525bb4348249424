"""Read the options of a part from its source, without importing it.

A list of losses must not wait for torch, nor need every optional package.
"""

import ast
import builtins
import math
import types
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from scalelab.core.option_types import allowed, meaning_of

__all__ = ["PartOption", "read_options"]

_PACKAGE = Path(__file__).parent.parent
# What an annotation of an option may be built from; nothing else is evaluated.
_NAMES: dict[str, Any] = {
    "Annotated": Annotated, "Any": Any, "Field": Field, "Literal": Literal, "math": math,
    "bool": bool, "dict": dict, "float": float, "int": int, "list": list, "str": str,
    "tuple": tuple, "NonNegativeFloat": NonNegativeFloat, "NonNegativeInt": NonNegativeInt,
    "PositiveFloat": PositiveFloat, "PositiveInt": PositiveInt,
    "__builtins__": types.MappingProxyType({}),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PartOption:
    """A keyword of a part: its default as in TOML, the values allowed, and what it means."""

    name: str
    default: str
    allowed: str
    meaning: str
    annotation: Any


@cache
def read_options(file: Path, name: str = "") -> tuple[PartOption, ...]:
    """The options of a class of `file`, those of its parents first. "": the one it exports."""
    tree = _tree(file)
    if name:
        part = _class(tree, name)
        return tuple(_class_options(part, file).values()) if part else ()
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            part = _class(tree, ast.literal_eval(node.value)[0])
            return tuple(_class_options(part, file).values()) if part else ()
    return ()


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def _class(tree: ast.Module, name: str) -> ast.ClassDef | None:
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef))
    return next((node for node in classes if node.name == name), None)


def _class_options(part: ast.ClassDef, file: Path) -> dict[str, PartOption]:
    for node in part.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            return {option.name: option for option in _keywords(node.args, file)}
    found: dict[str, PartOption] = {}
    for base in part.bases:
        found |= _inherited(ast.unparse(base), file)
    for node in part.body:
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            if not ast.unparse(node.annotation).startswith("ClassVar"):
                option = _option(ast.unparse(node.target), node.annotation, node.value, file)
                found[option.name] = option
    return found


def _inherited(base: str, file: Path) -> dict[str, PartOption]:
    tree = _tree(file)
    local = _class(tree, base)
    if local is not None:
        return _class_options(local, file)
    origin = _imported_from(base, tree)
    if origin is None:
        return {}
    parent = _class(_tree(origin), base)
    return _class_options(parent, origin) if parent else {}


def _imported_from(name: str, tree: ast.Module) -> Path | None:
    """The file of scalelab that `name` is imported from, None for other packages."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
            head, _, rest = (node.module or "").partition(".")
            if head == _PACKAGE.name:
                place = _PACKAGE.joinpath(*rest.split(".")) if rest else _PACKAGE
                return place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    return None


def _keywords(arguments: ast.arguments, file: Path) -> list[PartOption]:
    plain = arguments.args[len(arguments.args) - len(arguments.defaults) :]
    pairs = [*zip(plain, arguments.defaults, strict=True)]
    pairs += [
        (argument, default)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
        if default is not None
    ]
    return [_option(found.arg, found.annotation, default, file) for found, default in pairs]


def _option(name: str, written: ast.expr | None, default: ast.expr, file: Path) -> PartOption:
    annotation = Any if written is None else _evaluated(written, file)
    return PartOption(
        name=name,
        default=_as_toml(ast.unparse(default)),
        allowed=allowed(annotation),
        meaning=_sentence(meaning_of(annotation)),
        annotation=annotation,
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _as_toml(written: str) -> str:
    """A default as TOML writes it, where that differs from Python; "" for None."""
    words = {"True": "true", "False": "false", "None": ""}
    if written[:1] == "'" and '"' not in written:
        return f'"{written[1:-1]}"'
    return words.get(written, written)


def _evaluated(written: ast.expr, file: Path) -> Any:
    """The annotation itself. Names of other modules stand for what is written there."""
    names = {node.id for node in ast.walk(written) if isinstance(node, ast.Name)}
    values = {name: _alias(name, file) for name in names - _NAMES.keys()}
    code = compile(ast.Expression(written), str(file), "eval")
    try:
        return eval(code, _NAMES | values)
    except (AttributeError, TypeError, NameError):
        if file.is_relative_to(_PACKAGE):
            raise
        return Any  # other people's types may need what was not imported here


def _alias(name: str, file: Path) -> Any:
    tree = _tree(file)
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name:
            return _evaluated(node.value, file)
    origin = _imported_from(name, tree)
    if origin is not None:
        return _alias(name, origin)
    if hasattr(builtins, name):
        return getattr(builtins, name)
    return Any
