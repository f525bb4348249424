"""Compute a digest of a part's source: its file and the helpers that it imports from its package.

Comments, docstrings and layout do not count. Imports are read, not run, so that a digest needs no
optional package and is the same under every version of Python. What a part imports from other
packages, or by a name made at run time, is not covered.
"""

import ast
import hashlib
import sys
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import cast

from scalelab.core import locating
from scalelab.core.errors import SpecError
from scalelab.core.locating import Place

__all__ = ["digest", "files", "module_digest", "normalised"]


def digest(place: Place) -> str:
    """16 hex digits: another value means that the part may compute other numbers.

    Raises SpecError for a source that cannot be read or is not Python.
    """
    if place.in_tree:  # a running process has its tree imported: it cannot change under it
        return _tree_digest(place)
    return _digest(place)


@cache
def _tree_digest(place: Place) -> str:
    return _digest(place)


def _digest(place: Place) -> str:
    total = hashlib.blake2b(digest_size=8)
    for name, file in sorted(files(place).items()):
        total.update(f"{name} {_content(place, file)}\n".encode())
    return total.hexdigest()


def module_digest(file: Path) -> str:
    """The digest of one file alone."""
    return normalised(file.read_bytes(), str(file))


def files(place: Place) -> dict[str, Path]:
    """The part's own file and its helpers, by the name of their module."""
    found: dict[str, Path] = {}
    waiting = [(place.module or place.file.stem, place.file)]
    while waiting:
        module, file = waiting.pop()
        if module in found:
            continue
        found[module] = file
        _content(place, file)  # says whose fault it is where this is not Python
        if file.suffix == ".py":
            waiting += _helpers(place, module, file)
    # Importing a module runs the `__init__` of its packages first; what else they import is not
    # the part's.
    for module in list(found):
        words = module.split(".")
        for end in range(1, len(words)):
            parent = ".".join(words[:end])
            file = _helper(place, parent)
            if file is not None:
                found.setdefault(parent, file)
    return found


def _helpers(place: Place, module: str, file: Path) -> Iterator[tuple[str, Path]]:
    """Modules of the part's package that the file imports, with their files."""
    for base, name in _imports(file.read_bytes(), module, file.name == "__init__.py"):
        inner = f"{base}.{name}".strip(".")
        for wanted in (inner, base):
            helper = _helper(place, wanted)
            if helper is not None:
                yield wanted, helper
                break  # a module's name means the module, any other its package


def _helper(place: Place, module: str) -> Path | None:
    """The file of `module` where it belongs to the part, None where it does not."""
    if place.in_tree:
        package = place.module.rpartition(".")[0]
        if not module.startswith(f"{package}."):  # the package itself is what all parts share
            return None
        return locating.module_file(module)
    if place.module:
        top = place.module.partition(".")[0]
        return locating.module_file(module) if module.partition(".")[0] == top else None
    # Beside a file its neighbours are its package.
    if module == "" or module.partition(".")[0] in sys.stdlib_module_names:
        return None
    beside = place.file.parent.joinpath(*module.split("."))
    for file in (beside.with_suffix(".py"), beside / "__init__.py"):
        if file.is_file():
            return file
    return None


def _content(place: Place, file: Path) -> str:
    try:
        content = file.read_bytes()
        if file.suffix != ".py":
            return hashlib.blake2b(content, digest_size=8).hexdigest()
        return normalised(content, str(file))
    except OSError as error:
        raise SpecError(f"{place}: cannot read {file}: {error.strerror}") from error
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) else ""
        message = error.msg if isinstance(error, SyntaxError) else str(error)
        raise SpecError(f"{place} is not valid Python: {message} ({file}{line})") from error


@lru_cache(maxsize=1024)
def normalised(content: bytes, where: str = "<part>") -> str:
    """16 hex digits of a module without its comments and docstrings. Raises SyntaxError."""
    tree = ast.parse(content, filename=where)
    text = "".join(_words(tree))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _words(node: object) -> Iterator[str]:
    """The tree as text. Not `ast.dump`: that one differs between versions of Python."""
    if isinstance(node, ast.AST):
        yield f"({type(node).__name__}"
        for field, value in ast.iter_fields(node):
            # `kind` separates u"" from ""; `type_params` and empty lists came with later versions.
            if value is None or value == [] or field in ("ctx", "kind", "type_comment"):
                continue
            if field == "keywords":  # the text about an option is for people, like a docstring
                value = [word for word in value if word.arg != "description"]
            if isinstance(node, ast.JoinedStr):  # 3.12 adds empty texts to f-strings
                value = [part for part in value if getattr(part, "value", None) != ""]
            yield f" {field}="
            yield from _words(value)
        yield ")"
    elif isinstance(node, list):
        for each in cast("list[object]", node):
            if not _is_text(each):
                yield from _words(each)
    else:
        yield repr(node)


def _is_text(node: object) -> bool:
    """A string that stands alone: a docstring, or a comment in quotes."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )


@lru_cache(maxsize=1024)
def _imports(content: bytes, module: str, is_package: bool) -> frozenset[tuple[str, str]]:
    """(module, name) of all that is imported, wherever in the file."""
    found: set[tuple[str, str]] = set()
    package = module if is_package else module.rpartition(".")[0]
    for node in ast.walk(ast.parse(content)):
        if isinstance(node, ast.Import):
            found |= {(alias.name, "") for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                words = package.split(".")
                above = ".".join(words[: len(words) - node.level + 1])
                base = f"{above}.{base}".strip(".")
            found |= {(base, alias.name) for alias in node.names}
    return frozenset(found)
