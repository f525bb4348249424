"""Compute the buffer that a sum or a maximum on CUDA takes where blocks of threads share an output.

After ATen/native/cuda/Reduce.cuh (`setReduceConfig`): a long reduction to few outputs is split over
blocks, which leave their parts in memory. Held against the allocator's record on an H200 for sums
over rows (the gradient of every bias), over everything, and maxima over the last dimension.
"""

from collections.abc import Callable
from math import ceil, prod
from typing import Any

import torch

from scalelab.core.target import Target, predicted_target

__all__ = ["RULES"]

aten = torch.ops.aten
_MOST_THREADS, _WARP = 512, 32
_FEWEST_VALUES, _MOST_VALUES = 16, 256  # of a thread


def _reduced(args: tuple[Any, ...], result: Any) -> int:
    values = args[0]
    copied = 0
    if values.dtype is not result.dtype and values.dtype not in (torch.bfloat16, torch.float16):
        # A count of truths, say: they are made integers first.
        copied = values.numel() * result.element_size()
    return copied + _buffer_bytes(values, args[1] if len(args) > 1 else None)


def _buffer_bytes(values: Any, dims: Any) -> int:
    """Bytes of the parts and of one counter a block, 0 where each output has its own block."""
    shape = list(values.shape)
    reduced = {d % len(shape) for d in dims} if dims else set(range(len(shape)))
    inputs = prod(shape[d] for d in reduced)
    outputs = values.numel() // max(1, inputs)
    if outputs == 0 or inputs == 0 or not values.is_contiguous():
        return 0
    # The last dimension is next to itself in memory: threads of a warp share it.
    along_inputs = len(shape) - 1 in reduced
    width, height = (inputs, outputs) if along_inputs else (outputs, inputs)
    vector = 1
    if along_inputs:
        if outputs == 1 and width > 128:
            width //= 4
    else:
        vector = 4 if outputs % 4 == 0 else 2 if outputs % 2 == 0 else 1
        width //= vector
    block_x, block_y = _block(width, height, _MOST_THREADS // vector)
    step_inputs = block_x if along_inputs else 1
    step_outputs = 1 if along_inputs else block_x
    values_each = ceil(inputs / step_inputs)
    if values_each >= block_y * 16 or values_each >= _MOST_VALUES:
        step_inputs *= block_y
        values_each = ceil(inputs / step_inputs)
    else:
        return 0
    blocks = ceil(outputs / vector / step_outputs)
    target = predicted_target.get() or Target("cuda")
    resident = target.multiprocessors * (target.threads_each // (block_x * block_y))
    if values_each < _MOST_VALUES or blocks > resident:
        return 0
    shared = min(ceil(resident / blocks), ceil(values_each / _FEWEST_VALUES))
    shared = max(shared, ceil(values_each / _MOST_VALUES))
    if shared <= 1:
        return 0
    parts = 4 * outputs * shared * (1 if along_inputs else block_x * vector)
    return parts + 4 * blocks


def _block(width: int, height: int, threads: int) -> tuple[int, int]:
    wide, high = (min(_power(x), threads) for x in (width, height))
    block_x = min(wide, _WARP)
    block_y = min(high, threads // block_x)
    return min(wide, threads // block_y), block_y


def _power(number: int) -> int:
    """The largest power of two that is not above the number."""
    return 1 << (max(1, number).bit_length() - 1)


RULES: dict[Any, Callable[[tuple[Any, ...], Any], int]] = dict.fromkeys(
    (
        aten.sum.default,
        aten.sum.dim_IntList,
        aten.mean.dim,
        aten.amax.default,
        aten.amin.default,
    ),
    _reduced,
)
