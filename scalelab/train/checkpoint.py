"""Weights and optimizer state on disk, as safetensors and JSON, never pickles."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from scalelab.core.errors import DataError

__all__ = ["load_state", "load_weights", "save_state", "save_weights"]


def save_weights(model: nn.Module, path: Path) -> None:
    """All parameters and buffers, written beside `path` and then moved there. Raises DataError."""
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    _write(tensors, path)


@torch.no_grad()
def load_weights(model: nn.Module, path: Path) -> None:
    """Copy weights into the model in place, one tensor at a time."""
    with safe_open(path, framework="pt") as file:
        for name, tensor in model.state_dict().items():
            tensor.copy_(file.get_tensor(name))


def save_state(folder: Path, model: nn.Module, optimizer: Optimizer, facts: dict[str, Any]) -> None:
    """A checkpoint from which training goes on: weights, optimizer state, plain facts.

    The facts are written last: a folder without them is no checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Two generations, so that a crash while writing leaves the older one whole.
    number = 1 - int(_facts(folder).get("generation", 1))
    save_weights(model, folder / f"weights-{number}.safetensors")
    state = {
        f"{group}.{key}": value.detach().contiguous()
        for group, values in optimizer.state_dict()["state"].items()
        for key, value in values.items()
        if isinstance(value, Tensor)
    }
    _write(state, folder / f"optimizer-{number}.safetensors")
    text = json.dumps(facts | {"generation": number})
    temporary = folder / "facts.json.part"
    temporary.write_text(text)
    os.replace(temporary, folder / "facts.json")


def load_state(folder: Path, model: nn.Module, optimizer: Optimizer) -> dict[str, Any] | None:
    """Facts of the checkpoint once its state is in place, or None if there is none."""
    facts = _facts(folder)
    if not facts:
        return None
    number = facts.pop("generation")
    load_weights(model, folder / f"weights-{number}.safetensors")
    tables = optimizer.state_dict()
    tables["state"] = {}
    with safe_open(folder / f"optimizer-{number}.safetensors", framework="pt") as file:
        for name in file.keys():
            group, _, key = name.partition(".")
            tables["state"].setdefault(int(group), {})[key] = file.get_tensor(name)
    optimizer.load_state_dict(tables)
    return facts


def _facts(folder: Path) -> dict[str, Any]:
    path = folder / "facts.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def _write(tensors: dict[str, Tensor], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    try:
        save_file(tensors, temporary)
        os.replace(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(
            f"cannot write {path}: {error}", "free some space or name another folder"
        ) from error
