"""Describe storages and their changes, and find the storages that hold the bytes of a tensor."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["MemoryEvent", "Storage", "on_device", "storages_of", "tensors_in"]

aten = torch.ops.aten
# Operations whose seed and offset of dropout are on the host, unless a CUDA graph is recorded.
_SEEDED = frozenset(
    {
        aten._scaled_dot_product_efficient_attention.default,
        aten._scaled_dot_product_efficient_attention_backward.default,
    }
)


class MemoryEvent(NamedTuple):
    """One change of memory: a storage was allocated (bytes above 0), freed (below) or resized.

    `storage` is the number of the storage, the same in all of its events.
    """

    storage: int
    num_bytes: int
    phase: str
    component: str


class Storage:
    """One storage from allocation to free; `node` is the autograd node that allocated it.

    torch reuses `_cdata`, so an account knows a storage by a number of its own.
    """

    __slots__ = ("component", "node", "num_bytes", "reference")

    def __init__(self, component: str, num_bytes: int, node: int | None = None) -> None:
        self.component = component
        self.num_bytes = num_bytes
        self.node = node
        self.reference: Any = None


def on_device(func: Any, values: Any) -> Any:
    """Of arguments or results of an operation those that a GPU holds, also where they are fake."""
    if func not in _SEEDED:
        return values
    return [each for each in values if not (isinstance(each, Tensor) and each.dim() == 0)]


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
