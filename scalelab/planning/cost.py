"""A step on fake tensors in, its floating-point operations, bytes moved and kernel launches out."""

from typing import Any

import torch
from torch import Tensor
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC2701

from scalelab.losses import tile_repeats

__all__ = ["Cost"]

aten = torch.ops.aten

# These look at some rows of their first argument, not at all of it: they move what they return (or
# are given) and the indices.
_GATHERS = frozenset(
    {
        aten.embedding.default,
        aten.index.Tensor,
        aten.index_select.default,
        aten.gather.default,
    }
)
_SCATTERS = frozenset(
    {
        aten.index_add_.default,
        aten.index_put_.default,
        aten._index_put_impl_.default,
        aten.scatter_.src,
        aten.scatter_.value,
        aten.scatter_add_.default,
        aten.index_fill_.int_Scalar,
    }
)
# Allocation alone: nothing is read or written.
_FREE = frozenset(
    {
        aten.empty.memory_format,
        aten.empty_like.default,
        aten.empty_strided.default,
        aten.new_empty.default,
        aten.new_empty_strided.default,
        torch.ops.prim.device.default,
    }
)


class Cost(TorchDispatchMode):
    """Sums what operations cost at least: `flops` of matrix products, `num_bytes`, `launches`.

    Where a loss runs one tile for many on fake tensors, its operations count as often as the tile
    stands for. `pieces` has one (flops, bytes, times) for each operation, for a roofline.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[tuple[int, int, int]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _FREE or func.is_view:
            return result
        flops = 0
        count = flop_counter.flop_registry.get(func.overloadpacket)
        if count is not None:
            flops = int(count(*args, **(kwargs or {}), out_val=result))
        self.pieces.append((flops, _moved(func, args, result), tile_repeats.get()))
        return result

    @property
    def flops(self) -> int:
        """Operations of matrix products."""
        return sum(flops * times for flops, _, times in self.pieces)

    @property
    def num_bytes(self) -> int:
        """Bytes read and written, each operation by itself, no cache."""
        return sum(count * times for _, count, times in self.pieces)

    @property
    def launches(self) -> int:
        """Operations that do something."""
        return sum(times for _, _, times in self.pieces)


def _moved(func: Any, args: tuple[Any, ...], result: Any) -> int:
    given = sum(_bytes(value) for value in args)
    made = _bytes(result)
    if func in _GATHERS:
        return 2 * made + given - _bytes(args[0])
    if func in _SCATTERS:
        return 2 * (given - _bytes(args[0]))
    return given + made


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return 0 if value.layout is not torch.strided else value.numel() * value.element_size()
    if isinstance(value, (tuple, list)):
        return sum(_bytes(item) for item in value)
    return 0
