"""Load parts by name: the file is the name, `__all__` the class, its constructor the options."""

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_type_hints

from pydantic import ConfigDict, TypeAdapter, ValidationError

from scalelab.core.errors import MissingExtra, SpecError, nearest
from scalelab.core.option_types import hint_for

__all__ = ["KINDS", "Option", "available", "check_options", "load", "module_of", "options"]

KINDS = {
    "models": "scalelab.models",
    "losses": "scalelab.losses",
    "packers": "scalelab.batches.packers",
    "negatives": "scalelab.batches.negatives",
    "readers": "scalelab.datasets.readers",
    "probes": "scalelab.measure.probes",
    "charts": "scalelab.reporting.charts",
    "executors": "scalelab.workers.executors",
}
# The generative model is chosen by data.reader as a reader is, and has a package of its own.
_ELSEWHERE = {("readers", "synthetic"): "scalelab.datasets.synthetic.model"}
_SINGULAR = {"losses": "loss", "negatives": "source of negatives"}
_EXTRAS = {
    "cut_cross_entropy": "triton",
    "liger_kernel": "triton",
    "triton": "triton",
    "optuna": "search",
    "ray": "ray",
}


@dataclass(frozen=True, kw_only=True)
class Option:
    """A keyword of a part's constructor that has a default."""

    name: str
    annotation: Any
    default: Any


def available(kind: str) -> list[str]:
    """Names of the parts of one kind, found without importing any of them."""
    package = Path(__file__).parent.parent.joinpath(*KINDS[kind].split(".")[1:])
    found = pkgutil.iter_modules([str(package)])
    names = {m.name for m in found if not (m.ispkg or m.name.startswith("_"))}
    return sorted(names | {name for other, name in _ELSEWHERE if other == kind})


def module_of(kind: str, name: str) -> str:
    """The module that holds one part: the kind's package and the part's name, but for a few."""
    return _ELSEWHERE.get((kind, name), f"{KINDS[kind]}.{name}")


@cache
def load(kind: str, name: str) -> type[Any]:
    """The class of one part. Raises SpecError for an unknown name, MissingExtra for a missing
    package.
    """
    known = available(kind)
    if name not in known:
        singular = _SINGULAR.get(kind, kind.removesuffix("s"))
        raise SpecError(f"no {singular} called {name!r}", nearest(name, known))
    try:
        module = importlib.import_module(module_of(kind, name))
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        raise MissingExtra(
            f"{name!r} needs the package {error.name!r}", f'pip install "scalelab[{extra}]"'
        ) from error
    return getattr(module, module.__all__[0])


@cache
def options(kind: str, name: str) -> Mapping[str, Option]:
    """The options of a part: keywords of its constructor that have a default."""
    part = load(kind, name)
    hints = get_type_hints(part.__init__, include_extras=True)
    found = {
        key: Option(name=key, annotation=hints.get(key, Any), default=parameter.default)
        for key, parameter in inspect.signature(part).parameters.items()
        if parameter.default is not inspect.Parameter.empty
    }
    return MappingProxyType(found)


# Grids check thousands of specs of the same few parts.
@cache
def _adapter(kind: str, name: str, key: str) -> TypeAdapter[Any]:
    annotation = options(kind, name)[key].annotation
    return TypeAdapter(annotation, config=ConfigDict(strict=False))


def check_options(kind: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """`given` with every value checked against the constructor's annotation; defaults filled in.

    Raises SpecError for an unknown option or a value of the wrong type.
    """
    known = options(kind, name)
    for key in given:
        if key not in known:
            hint = nearest(key, known) if known else "it takes none"
            raise SpecError(f"{name!r} has no option {key!r}", hint)
    checked = {key: option.default for key, option in known.items()}
    for key, value in given.items():
        try:
            checked[key] = _adapter(kind, name, key).validate_python(value)
        except ValidationError as error:
            message = f"{name}: {key} = {value!r} is not allowed"
            raise SpecError(message, hint_for(known[key].annotation, value)) from error
    return checked
