"""Tensors in, what holds their bytes out."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["storages_of", "tensors_in"]


def storages_of(tensor: Tensor) -> tuple[torch.UntypedStorage, ...]:
    """One storage of a dense tensor, two of a sparse one."""
    if tensor.layout is torch.strided:
        return (tensor.untyped_storage(),)
    if tensor.layout is torch.sparse_coo:
        parts = (tensor._indices(), tensor._values())
        return tuple(part.untyped_storage() for part in parts)
    raise AssertionError(f"no account of tensors with layout {tensor.layout}")


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in nested dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)
