"""Call the function that `FILE:FUNCTION` names and check the four things that it returns."""

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from torch import nn
from torch.optim import Optimizer

from scalelab.any_model.estimate import Step
from scalelab.core.errors import ScalelabError, SpecError, nearest

__all__ = ["Given", "given_by"]

_HINT = "write FILE:FUNCTION, such as my_step.py:small"


class Given(NamedTuple):
    """What `estimate` takes; `step(model, inputs)` returns the loss."""

    model: nn.Module
    step: Step
    inputs: Any
    optimizer: Optimizer | None


def given_by(target: str) -> Given:
    """What the function returns: (model, step, inputs, optimizer).

    `target` is `file.py:function` or `package.module:function`. Raises SpecError, in one line, for
    whatever goes wrong in it.
    """
    where, colon, name = target.rpartition(":")
    if not (where and colon and name):
        raise SpecError(f"invalid step: {target!r}", _HINT)
    module = _file(where) if where.endswith(".py") else _module(where)
    function = getattr(module, name, None)
    if not callable(function):
        named = [key for key, value in vars(module).items() if callable(value)]
        raise SpecError(f"{where} has no function {name!r}", nearest(name, named))
    try:
        found = function()
    except ScalelabError:
        raise
    except Exception as error:
        raise SpecError(
            f"{target} raised {_in_one_line(error)}", "call it in Python to see where"
        ) from error
    if not isinstance(found, tuple) or len(found) != 4:
        raise SpecError(
            f"{target} returned {type(found).__name__}",
            "return model, step, inputs, optimizer, where step(model, inputs) returns the loss",
        )
    return Given(*found)


def _file(where: str) -> ModuleType:
    path = Path(where)
    if not path.is_file():
        raise SpecError(f"no file {where}", _HINT)
    # Under a name of its own: a file called random.py must not hide Python's module.
    name = f"scalelab_step_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None, "a name that ends in .py"
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    folder = str(path.resolve().parent)
    # As `python my_step.py` has it: what lies beside the file can be imported. Dataclasses look
    # their module up by name.
    sys.path.insert(0, folder)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except ScalelabError:
        raise
    except Exception as error:
        raise SpecError(
            f"{where} raised {_in_one_line(error)}", "python must be able to import it"
        ) from error
    finally:
        sys.path.remove(folder)
    return module


def _module(where: str) -> ModuleType:
    try:
        return importlib.import_module(where)
    except ScalelabError:
        raise
    except Exception as error:
        raise SpecError(f"cannot import {where}: {_in_one_line(error)}", _HINT) from error


def _in_one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())
