"""Import the class of a part, and say in one line what is wrong with it where that fails."""

import importlib
import importlib.util
import sys
import traceback
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from scalelab.core import sources
from scalelab.core.errors import MissingExtra, ScalelabError, SpecError
from scalelab.core.locating import KINDS, Place

__all__ = ["import_part"]

_EXTRAS = {
    "cut_cross_entropy": "triton",
    "liger_kernel": "triton",
    "triton": "triton",
    "optuna": "search",
    "ray": "ray",
}
# What a class must have to be a part of its kind; the packages' docstrings say what it is for.
_REQUIRED = {
    "models": ("forward", "reset_parameters"),
    "losses": ("needs_negatives", "__call__"),
    "packers": ("pack",),
    "negatives": ("bind", "exponent"),
    "readers": ("read",),
    "probes": ("open", "close", "memory", "sample", "device_types"),
    "charts": ("rows", "draw"),
    "executors": ("open", "submit", "poll", "stop", "end", "close", "blocking", "shares_memory"),
}
# The source that a module of an installed package was imported from, by the module's name.
_imported: dict[str, str] = {}
_from_files: dict[tuple[str, str], ModuleType] = {}


def import_part(place: Place) -> type[Any]:
    """The class of a part. Raises SpecError or MissingExtra, which say what its author must do."""
    module = _tree_module(place) if place.in_tree else _foreign_module(place)
    attribute = place.attribute or module.__all__[0]
    part = getattr(module, attribute, None)
    if not isinstance(part, type):
        raise SpecError(f"{place}: {place.file.name} has no class {attribute!r}", _blame(place))
    if place.in_tree:  # its own tests say what it lacks
        return part
    lacking = [name for name in _REQUIRED[place.kind] if not _has(part, name)]
    if lacking:
        package = _contract(place.kind)
        raise SpecError(
            f"{place} lacks {', '.join(map(repr, lacking))}",
            f"the docstring of {package} says what such a class must have",
        )
    return part


def _has(part: type[Any], name: str) -> bool:
    if name == "__call__":  # every class can be called; what counts is what it makes
        return any("__call__" in vars(base) for base in part.__mro__ if base is not object)
    if name == "forward":  # a module without one raises when it is called
        own = (base for base in part.__mro__ if base.__module__ != "torch.nn.modules.module")
        return any("forward" in vars(base) for base in own)
    return hasattr(part, name) or name in getattr(part, "__dataclass_fields__", {})


def _contract(kind: str) -> str:
    return "scalelab.workers.task" if kind == "executors" else KINDS[kind]


def _blame(place: Place) -> str:
    """The hint of a fault that is not scalelab's."""
    if place.origin.package:
        return f"this is the matter of the author of {place.origin}"
    return f"put it right in {place.file}"


def _tree_module(place: Place) -> ModuleType:
    try:
        return importlib.import_module(place.module)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtra(
            f"{place.name!r} needs the package {error.name!r}", f'pip install "scalelab[{extra}]"'
        ) from error


def _foreign_module(place: Place) -> ModuleType:
    try:
        return _of_package(place) if place.module else _of_file(place)
    except ScalelabError:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or str(error)
        raise MissingExtra(
            f"{place} needs the module {missing!r}, which is not installed", _blame(place)
        ) from error
    except (Exception, SystemExit) as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        raise SpecError(
            f"{place} cannot be imported: {words}{_line(error, place.file)}", _blame(place)
        ) from error


def _line(error: BaseException, file: Path) -> str:
    """Where in the part's own file it happened."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename) == file]
    return f" ({file.name}, line {lines[-1]})" if lines else ""


def _of_package(place: Place) -> ModuleType:
    now = sources.digest(place)
    module = importlib.import_module(place.module)
    if _imported.setdefault(place.module, now) != now:
        raise SpecError(
            f"the source of {place} has changed since this process imported it",
            "start Python again",
        )
    return module


def _of_file(place: Place) -> ModuleType:
    """The module of a file as it is now: one that was edited is imported afresh."""
    now = sources.digest(place)
    key = str(place.file), now
    if key in _from_files:
        return _from_files[key]
    helpers = {n: f for n, f in sources.files(place).items() if f != place.file}
    folder = str(place.file.parent)
    if folder not in sys.path:
        sys.path.append(folder)  # last: a neighbour must not take the place of a library
    for name in helpers:
        loaded = getattr(sys.modules.get(name), "__file__", None)
        if loaded is not None and Path(loaded) == helpers[name]:
            del sys.modules[name]
    importlib.invalidate_caches()
    name = f"_scalelab_{place.file.stem}_{now}"
    spec: ModuleSpec | None = importlib.util.spec_from_file_location(name, place.file)
    assert spec is not None, "the file's name ends in .py"
    assert spec.loader is not None, "a spec from a file has a loader"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look up their module there
    try:
        # Not by the loader: bytecode is kept by time and size, and an edit may keep both.
        exec(compile(place.file.read_bytes(), str(place.file), "exec"), vars(module))
        for helper, file in helpers.items():
            taken = getattr(sys.modules.get(helper), "__file__", None)
            if taken is not None and Path(taken) != file:
                raise SpecError(
                    f"{place} imports {helper!r}, and {taken} was taken for it, not {file}",
                    f"give {file.name} a name of its own",
                )
    except BaseException:
        del sys.modules[name]
        raise
    _from_files[key] = module
    return module
