"""Import the class of a part, and say in one line what is wrong with it where that fails."""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from importlib.abc import Loader, MetaPathFinder
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
    "tables": ("forward", "rows_VD", "reset"),
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
    attribute = place.attribute or _exported(place, module)
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


def _exported(place: Place, module: ModuleType) -> str:
    """The one name of `__all__`. A file of the tree without it is new, and its author forgot."""
    exported = getattr(module, "__all__", ())
    if len(exported) == 1:
        return exported[0]
    classes = [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and value.__module__ == module.__name__ and name[0] != "_"
    ]
    name = classes[0] if len(classes) == 1 else "TheClass"
    raise SpecError(
        f"{place.file} must name its one class in __all__", f'add the line __all__ = ["{name}"]'
    )


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
    if key not in _from_files:
        name = f"_scalelab_{place.file.stem}_{now}"
        _from_files[key] = _alone(name, place.file, sources.files(place))
    return _from_files[key]


def _alone(name: str, file: Path, beside: Mapping[str, Path]) -> ModuleType:
    """The module of `file`, imported with the files beside it, which nobody else gets to see.

    Two files may each have a neighbour called `helpers`, and one may have changed since: so what
    has that name is put aside while the file is imported, and comes back afterwards.
    """
    helpers = {helper: path for helper, path in beside.items() if path != file}
    aside = {helper: sys.modules.pop(helper) for helper in helpers if helper in sys.modules}
    finder = _Beside(helpers)
    sys.meta_path.insert(0, finder)
    try:
        spec = _spec_of(name, file)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look up their module there
        assert spec.loader is not None, "it is ours"
        spec.loader.exec_module(module)
        return module
    except BaseException:
        sys.modules.pop(name, None)
        raise
    finally:
        sys.meta_path.remove(finder)
        for helper in helpers:
            sys.modules.pop(helper, None)
        sys.modules.update(aside)


class _Beside(MetaPathFinder):
    """Finds the files beside a part by the names that it imports them by."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self.files = files

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """That of a helper, None for any other module."""
        return _spec_of(fullname, self.files[fullname]) if fullname in self.files else None


class _AsItIs(Loader):
    """Compiles the file each time: kept bytecode goes by seconds and size, and an edit may keep
    both."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def exec_module(self, module: ModuleType) -> None:
        """Run it."""
        exec(compile(self.file.read_bytes(), str(self.file), "exec"), vars(module))


def _spec_of(name: str, file: Path) -> ModuleSpec:
    inner = [str(file.parent)] if file.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(
        name, file, loader=_AsItIs(file), submodule_search_locations=inner
    )
    assert spec is not None, "a loader is given"
    return spec
