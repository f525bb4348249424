"""Keep weights and optimizer state on disk, as safetensors and JSON, never pickles."""

import json
import logging
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from scalelab.core.errors import DataError

__all__ = [
    "load_best",
    "load_state",
    "load_weights",
    "save_best",
    "save_state",
    "save_weights",
    "weights_metadata",
]

_LOG = logging.getLogger(__name__)
_PART = 2**24


def save_weights(model: nn.Module, path: Path, metadata: Mapping[str, str] | None = None) -> None:
    """All parameters and buffers, written beside `path` and then moved there. Raises DataError."""
    tensors = {name: tensor.detach() for name, tensor in model.state_dict().items()}
    _write(tensors, path, metadata)


def weights_metadata(path: Path) -> dict[str, str]:
    """The metadata that `save_weights` wrote."""
    with safe_open(path, framework="pt") as file:
        return file.metadata() or {}


def save_best(folder: Path, model: nn.Module, epoch: int) -> None:
    """The weights of the best epoch so far. Those that the folder's checkpoint names stay too."""
    save_weights(model, _best(folder, epoch))
    _forget(folder, epoch)


def load_best(folder: Path, model: nn.Module, epoch: int) -> None:
    """Put the weights of the best epoch back."""
    load_weights(model, _best(folder, epoch))


def save_state(
    folder: Path,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    *,
    facts: dict[str, Any],
    best_epoch: int | None,
) -> None:
    """A checkpoint from which training goes on: weights, optimizer state, best weights, facts.

    All is on the disk, with its checksums, before the facts are, which are written last: a folder
    without them is not a checkpoint. Raises DataError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Two generations, so that a crash while writing leaves the older one whole.
    number = 1 - int((_facts(folder) or {}).get("generation", 1))
    weights, state = _state_files(folder, number)
    save_weights(model, weights)
    tensors = {
        f"{number}.{key}": value.detach().contiguous()
        for number, values in _numbered(optimizers)
        for key, value in values.items()
        if isinstance(value, Tensor)
    }
    _write(tensors, state)
    files = [weights, state] + ([] if best_epoch is None else [_best(folder, best_epoch)])
    facts = facts | {"generation": number, "files": {path.name: _checksum(path) for path in files}}
    temporary = folder / "facts.json.part"
    try:
        temporary.write_text(json.dumps(facts | {"checksum": _checksum_of(facts)}))
        _to_disk([*files, temporary, folder])
        os.replace(temporary, folder / "facts.json")
        _to_disk([folder])
    except OSError as error:
        raise _cannot_write(folder, error) from error
    _forget(folder, best_epoch)


def load_state(
    folder: Path, model: nn.Module, optimizers: Sequence[Optimizer]
) -> dict[str, Any] | None:
    """Facts of the checkpoint once its state is in place; None where there is none.

    One that is damaged is none, which is logged.
    """
    facts = _facts(folder)
    if facts is None:
        return None
    files, number = facts.pop("files", {}), facts.pop("generation", None)
    damaged = [name for name, known in files.items() if _checksum(folder / name) != known]
    if damaged or not files:
        _LOG.warning("%s: %s is damaged; starting anew", folder, ", ".join(damaged) or "facts.json")
        return None
    weights, state = _state_files(folder, number)
    load_weights(model, weights)
    found: dict[int, dict[str, Tensor]] = {}
    with safe_open(state, framework="pt") as file:
        for name in file.keys():
            number, _, key = name.partition(".")
            found.setdefault(int(number), {})[key] = file.get_tensor(name)
    first = 0
    for optimizer in optimizers:
        tables, count = optimizer.state_dict(), _num_weights(optimizer)
        tables["state"] = {n - first: of for n, of in found.items() if 0 <= n - first < count}
        optimizer.load_state_dict(tables)
        first += count
    return facts


def _numbered(optimizers: Iterable[Optimizer]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The state of each weight, counted through all optimizers."""
    first = 0
    for optimizer in optimizers:
        for number, values in optimizer.state_dict()["state"].items():
            yield first + number, values
        first += _num_weights(optimizer)


def _num_weights(optimizer: Optimizer) -> int:
    return sum(len(group["params"]) for group in optimizer.param_groups)


def _state_files(folder: Path, generation: int) -> tuple[Path, Path]:
    weights, state = (f"{name}-{generation}.safetensors" for name in ("weights", "optimizer"))
    return folder / weights, folder / state


def _best(folder: Path, epoch: int) -> Path:
    return folder / f"best-{epoch}.safetensors"


def _forget(folder: Path, epoch: int | None) -> None:
    """Best weights that neither `epoch` nor the checkpoint needs any more."""
    needed = set((_facts(folder) or {}).get("files", {}))
    for path in folder.glob("best-*.safetensors"):
        if path.name not in needed and (epoch is None or path != _best(folder, epoch)):
            path.unlink()


@torch.no_grad()
def load_weights(model: nn.Module, path: Path) -> None:
    """Copy weights into the model in place, one tensor at a time."""
    with safe_open(path, framework="pt") as file:
        for name, tensor in model.state_dict().items():
            tensor.copy_(file.get_tensor(name))


def _facts(folder: Path) -> dict[str, Any] | None:
    """None where there are none; without anything where they are damaged."""
    path = folder / "facts.json"
    if not path.is_file():
        return None
    try:
        facts = json.loads(path.read_bytes())
    except ValueError:
        return {}
    whole = isinstance(facts, dict) and facts.pop("checksum", None) == _checksum_of(facts)
    return facts if whole else {}


def _checksum_of(facts: dict[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(facts, sort_keys=True).encode()):08x}"


def _checksum(path: Path) -> str | None:
    """Of what the file holds; None where there is none. Against damage, not against anybody."""
    value = 0
    if not path.is_file():
        return None
    with path.open("rb") as file:
        while part := file.read(_PART):
            value = zlib.crc32(part, value)
    return f"{value:08x}"


def _to_disk(paths: Iterable[Path]) -> None:
    """Wait until files, or the names in a folder, are where a loss of power leaves them."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write(
    tensors: dict[str, Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    try:
        save_file(tensors, temporary, None if metadata is None else dict(metadata))
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        raise _cannot_write(path, error) from error


def _cannot_write(path: Path, error: Exception) -> DataError:
    return DataError(f"cannot write {path}: {error}", "free some space or name another folder")
