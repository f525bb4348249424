"""Count the floating-point operations, the bytes moved and the kernels of a step."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC2701

from scalelab.losses import tile_repeats

__all__ = ["Cost", "Piece"]

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
_SORTED = frozenset({aten.index_put_.default, aten._index_put_impl_.default})
_SCATTERS = frozenset(
    {
        aten.index_add_.default,
        aten.index_copy_.default,
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
        aten.lift_fresh.default,
        aten.promote_types.default,
        torch.ops.prim.device.default,
    }
)
# Accumulating in place is counted as the operation that it is named after.
_IN_PLACE = {aten.addmm_: aten.addmm, aten.baddbmm_: aten.baddbmm}
# Kernels that one call starts on CUDA: to sort ids before rows are added up in a fixed order, and
# for each chunk of positions of torch's own cross-entropy.
_SORTED_KERNELS, _CHUNK_KERNELS = 17, 10


class Piece(NamedTuple):
    """One operation: `flops` of matrix products in `precision`, bytes moved, kernels, how often.

    "bf16x6" are products of float32 that six products of bfloat16 stand for.
    """

    flops: int
    num_bytes: int
    precision: str
    kernels: int
    times: int


class Cost(TorchDispatchMode):
    """Sums what operations cost at least: `flops` of matrix products and `num_bytes`.

    Where a loss runs one tile for many on fake tensors, its operations count as often as the tile
    stands for. `pieces` has one for each operation, for a roofline.
    """

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[Piece] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in _FREE or func.is_view or func.namespace == "profiler":
            return result
        flops, count = 0, _formula(func)
        if count is not None:
            flops = int(count(*args, **(kwargs or {}), out_val=result))
        moved, kernels = _moved(func, args, result), _kernels(func, args)
        self.pieces.append(
            Piece(
                flops=flops,
                num_bytes=moved,
                precision=_precision(func, args),
                kernels=kernels,
                times=tile_repeats.get(),
            )
        )
        return result

    @property
    def flops(self) -> int:
        """Operations of matrix products."""
        return sum(piece.flops * piece.times for piece in self.pieces)

    @property
    def num_bytes(self) -> int:
        """Bytes read and written, each operation by itself, no cache."""
        return sum(piece.num_bytes * piece.times for piece in self.pieces)


def _formula(func: Any) -> Callable[..., int] | None:
    if func.namespace == "torch_nn":
        return _BY_NAME.get(func.name())
    packet = _IN_PLACE.get(func.overloadpacket, func.overloadpacket)
    return flop_counter.flop_registry.get(packet)


def _linear_cross_entropy(hidden: Tensor, table: Tensor, *args: Any, out_val: Any) -> int:
    """The logits, and for each gradient that is wanted a product of the same size."""
    wanted = 1 + sum(bool(each) for each in args[-3:-1])
    return 2 * wanted * hidden.numel() * table.size(0)


# Registered when it is first called, so known by name alone (torch 2.13 and later).
_BY_NAME = {"torch_nn::_linear_cross_entropy_batch_chunked": _linear_cross_entropy}


def _kernels(func: Any, args: tuple[Any, ...]) -> int:
    if func in _SORTED:
        accumulates = len(args) > 3 and bool(args[3])
        return _SORTED_KERNELS if accumulates else 1
    if func.namespace == "torch_nn" and func.name() in _BY_NAME:
        return _CHUNK_KERNELS * -(-args[0].size(0) // int(args[8]))
    return 1


def _precision(func: Any, args: tuple[Any, ...]) -> str:
    """That of the first floating-point operand: bf16, fp32, or bf16x6."""
    for value in args:
        if isinstance(value, Tensor) and value.is_floating_point():
            if value.element_size() != 2:
                return "fp32"
            # Our own kernels take a float32 matrix as three parts, (3, N, D).
            return "bf16x6" if func.namespace == "scalelab" and value.dim() == 3 else "bf16"
    return "fp32"


def _moved(func: Any, args: tuple[Any, ...], result: Any) -> int:
    given = sum(_bytes(value) for value in args)
    made = _bytes(result)
    if func in _GATHERS:
        return 2 * made + given - _bytes(args[0])
    if func.namespace == "torch_nn" and func.name() in _BY_NAME:
        # Each chunk of positions reads the table twice, and its gradient once to write it again.
        chunks = -(-args[0].size(0) // int(args[8]))
        return chunks * 4 * _bytes(args[1]) + given
    if func in _SCATTERS:
        return 2 * (given - _bytes(args[0]))
    return given + made


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return 0 if value.layout is not torch.strided else value.numel() * value.element_size()
    if isinstance(value, (tuple, list)):
        return sum(_bytes(item) for item in value)
    return 0
