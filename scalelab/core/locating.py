"""Find the file and the class of a part, wherever it comes from, without importing it.

A part comes from the tree (`gbce`), from an entry point of an installed package (`cosine` in the
group `scalelab.losses`), or is named in full: `package.module:Class` or `./file.py:Class`.
"""

import pkgutil
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from scalelab.core.errors import SpecError, nearest

__all__ = [
    "KINDS",
    "Origin",
    "Place",
    "absolute",
    "available",
    "locate",
    "module_file",
    "short",
    "singular",
]

KINDS = {
    "models": "scalelab.models",
    "tables": "scalelab.models.tables",
    "losses": "scalelab.losses",
    "packers": "scalelab.batches.packers",
    "negatives": "scalelab.batches.negatives",
    "readers": "scalelab.datasets.readers",
    "probes": "scalelab.measure.probes",
    "charts": "scalelab.reporting.charts",
    "executors": "scalelab.workers.executors",
}
# The generative model is chosen by data.reader as a reader is, and has a package of its own.
_ELSEWHERE = {("readers", "synthetic"): "scalelab.synthetic.model"}
_SINGULAR = {"losses": "loss", "negatives": "source of negatives", "tables": "item table"}
_FILE = re.compile(r"(?P<path>.+\.py):(?P<name>[A-Za-z_]\w*)")
_PACKAGE_ROOT = Path(__file__).parent.parent


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Who a part is from: a package with its version, or else only a file."""

    package: str = ""
    version: str = ""
    file: str = ""

    def __str__(self) -> str:
        return f"{self.package} {self.version}".strip() or self.file


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a part lies. `module` is "" for a file, `attribute` "" for the class of `__all__`.

    `package` is the folder that holds what belongs to the part: of the tree the folder of its
    kind, else the folder of the top-level package, or that of the file.
    """

    kind: str
    name: str
    module: str
    attribute: str
    file: Path
    origin: Origin

    @property
    def in_tree(self) -> bool:
        """The part is one of scalelab's own."""
        return self.origin.package == "scalelab"

    def __str__(self) -> str:
        """The part and whose matter it is, as error messages name it."""
        word = singular(self.kind)
        if self.origin.package:
            return f"the {word} {self.name!r} of {self.origin}"
        return f"the {word} {short(self.name)!r} ({self.file})"


def singular(kind: str) -> str:
    """The word for one part of a kind."""
    return _SINGULAR.get(kind, kind.removesuffix("s"))


def absolute(value: Any, folder: Path) -> Any:
    """`value` with every `./file.py:Class` in it made absolute, from `folder`."""
    if isinstance(value, dict):
        return {key: absolute(each, folder) for key, each in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [absolute(each, folder) for each in value]  # pyright: ignore[reportUnknownVariableType]
    match = _FILE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return value
    return f"{(folder / match['path']).resolve()}:{match['name']}"


def short(name: str) -> str:
    """The name of a part as tables and labels show it: of a path only the file."""
    match = _FILE.fullmatch(name)
    return name if match is None else f"{Path(match['path']).name}:{match['name']}"


def available(kind: str) -> list[str]:
    """Names of the parts of the tree and of installed packages; imports none of them."""
    return sorted({*_in_tree(kind), *(point.name for point in _entry_points(kind))})


@cache
def _in_tree(kind: str) -> tuple[str, ...]:
    found = pkgutil.iter_modules([str(_tree_folder(kind))])
    names = [m.name for m in found if not (m.ispkg or m.name.startswith("_"))]
    return (*names, *(name for other, name in _ELSEWHERE if other == kind))


def _tree_folder(kind: str) -> Path:
    return _PACKAGE_ROOT.joinpath(*KINDS[kind].split(".")[1:])


def locate(kind: str, name: str) -> Place:
    """The place of a part. Raises SpecError where there is none, or more than one."""
    match = _FILE.fullmatch(name)
    if match is not None:
        return _in_file(kind, name, Path(match["path"]).absolute(), match["name"])
    if ":" in name:
        return _in_module(kind, name)
    points = [point for point in _entry_points(kind) if point.name == name]
    in_tree = name in _in_tree(kind)
    if len(points) + in_tree > 1:
        owners = ["scalelab"] * in_tree + [str(_origin(point)) for point in points]
        hint = f"write {points[-1].value} instead of the name, or uninstall one of them"
        raise SpecError(
            f"the {singular(kind)} {name!r} is offered by {' and by '.join(owners)}", hint
        )
    if in_tree:
        return _of_tree(kind, name)
    if points:
        return _of_entry_point(kind, points[0])
    word = singular(kind)
    hint = nearest(name, available(kind))
    if name.endswith(".py") or "." in name or "/" in name:
        hint = "write ./file.py:Class or package.module:Class"
    raise SpecError(f"no {word} called {name!r}", hint)


@cache
def _of_tree(kind: str, name: str) -> Place:
    module = _ELSEWHERE.get((kind, name), f"{KINDS[kind]}.{name}")
    return Place(
        kind=kind,
        name=name,
        module=module,
        attribute="",
        file=_PACKAGE_ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py"),
        origin=Origin(package="scalelab", version=metadata.version("scalelab")),
    )


def _in_file(kind: str, name: str, file: Path, attribute: str) -> Place:
    if not file.is_file():
        hint = "a path in a TOML file starts at that file, one in --set at the working folder"
        raise SpecError(f"the {singular(kind)} {short(name)!r}: no file {file}", hint)
    return Place(
        kind=kind,
        name=name,
        module="",
        attribute=attribute,
        file=file,
        origin=Origin(file=str(file)),
    )


def _in_module(kind: str, name: str) -> Place:
    module, _, attribute = name.partition(":")
    file = module_file(module)
    if file is None or not attribute.isidentifier():
        hint = "write package.module:Class of an installed package, or ./file.py:Class"
        raise SpecError(f"the {singular(kind)} {name!r}: no module {module!r} to import", hint)
    owners = metadata.packages_distributions().get(module.partition(".")[0], [])
    origin = Origin(file=str(file))
    if len(set(owners)) == 1:
        origin = Origin(package=owners[0], version=metadata.version(owners[0]))
    return Place(kind=kind, name=name, module=module, attribute=attribute, file=file, origin=origin)


def _of_entry_point(kind: str, point: metadata.EntryPoint) -> Place:
    module, _, attribute = point.value.partition(":")
    file = module_file(module)
    if file is None or not attribute.isidentifier():
        raise SpecError(
            f"the {singular(kind)} {point.name!r} of {_origin(point)}: its entry point names "
            f"{point.value!r}, and there is no such module",
            f"report it to the author of {_origin(point)}; an entry point is package.module:Class",
        )
    return Place(
        kind=kind,
        name=point.name,
        module=module,
        attribute=attribute,
        file=file,
        origin=_origin(point),
    )


def _origin(point: metadata.EntryPoint) -> Origin:
    assert point.dist is not None, "an installed entry point has a distribution"
    return Origin(package=point.dist.name, version=point.dist.version)


def _entry_points(kind: str) -> tuple[metadata.EntryPoint, ...]:
    return _found_on(tuple(sys.path), f"scalelab.{kind}")


# Reading the metadata of all installed packages takes long; a sweep needs it thousands of times.
@cache
def _found_on(_path: tuple[str, ...], group: str) -> tuple[metadata.EntryPoint, ...]:
    return tuple(metadata.entry_points(group=group))


def module_file(module: str) -> Path | None:
    """The source of a module, found without importing it or its parents; None if there is none."""
    search: Sequence[str] | None = None
    spec = None
    for place, _ in enumerate(words := module.split("."), 1):
        spec = _spec(".".join(words[:place]), search)
        if spec is None:
            return None
        search = spec.submodule_search_locations
    return None if spec is None or spec.origin is None else Path(spec.origin)


def _spec(name: str, search: Sequence[str] | None) -> Any:
    if search is None and "." in name:
        return None  # its parent is not a package
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = find(name, search) if find is not None else None
        if spec is not None:
            return spec
    return None
