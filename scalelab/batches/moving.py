"""Move the tensors of a batch to a device, to a GPU as one buffer in one copy."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from scalelab.core.target import kind_of_device

__all__ = ["Packing", "moved", "packing"]

# What vectorised kernels read at once; more than any type needs.
_ALIGNMENT = 16


class Packing(NamedTuple):
    """Where each tensor begins in one buffer of `num_bytes`, with its type and shape."""

    places: tuple[tuple[int, torch.dtype, tuple[int, ...]], ...]
    num_bytes: int

    def views(self, buffer: Tensor) -> list[Tensor]:
        """The tensors that lie in `buffer`, (num_bytes) uint8."""
        typed = {dtype: buffer.view(dtype) for dtype in {dtype for _, dtype, _ in self.places}}
        return [
            typed[dtype].as_strided(shape, _strides(shape), first // dtype.itemsize)
            for first, dtype, shape in self.places
        ]


def _strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(math.prod(shape[place + 1 :]) for place in range(len(shape)))


def packing(layouts: Sequence[tuple[torch.dtype, Sequence[int]]]) -> Packing:
    """Tensors of these types and shapes one behind the other, each at a multiple of 16 bytes."""
    places, end = [], 0
    for dtype, shape in layouts:
        places.append((end, dtype, tuple(shape)))
        end += -(-math.prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT
    return Packing(tuple(places), end)


def moved(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The same tensors on `device`.

    A copy from ordinary memory waits for the GPU, and every copy costs a launch; so they travel
    in one pinned buffer, while the GPU goes on with what it has. The buffer may be forgotten at
    once: PyTorch's allocator of pinned memory gives it out again only when the copy has been made.
    """
    if kind_of_device(device.type) != "cuda":
        return [tensor.to(device) for tensor in tensors]
    plan = packing([(tensor.dtype, tensor.shape) for tensor in tensors])
    if any(isinstance(tensor, torch._subclasses.FakeTensor) for tensor in tensors):
        return plan.views(torch.empty(plan.num_bytes, dtype=torch.uint8, device=device))
    packed = torch.empty(plan.num_bytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for place, tensor in zip(plan.views(packed), tensors, strict=True):
        place.copy_(tensor)
    return plan.views(packed.to(device, non_blocking=True))
