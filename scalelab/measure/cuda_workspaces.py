"""Compute the bytes that CUDA's operations take from the allocator for themselves.

What an operation allocates beside its result while it runs, from PyTorch's sources (2.11 to 2.14).
Sorting, `index_put_`, attention and reductions were held against the allocator's own record on an
H200 (torch 2.11, `tests/gpu/results`); tile sizes of CUB are those of that GPU.
"""

from collections.abc import Callable
from math import ceil
from typing import Any

import torch

from scalelab.measure.cuda_reductions import RULES as REDUCTIONS

__all__ = ["RULES"]

aten = torch.ops.aten
_INT64 = 8
# CUB's DeviceRadixSort: up to so many pairs are sorted by one block of threads without storage;
# more by tiles, with 256 counts a tile and a pass over 8 bits.
_ONE_BLOCK, _RADIX, _LINE = 2304, 256, 256
_PAIRS_A_TILE = {8: 4608, 2: 5632}
# `embedding_dense_backward` adds up to this many rows without sorting, and cuts longer segments of
# equal ids into pieces of this many rows.
_UNSORTED, _ROWS_A_PIECE = 3072, 10
# Up to this many numbers are sorted by a block of threads.
_SMALL_SORT = 4096


def _pairs(count: int, key_bytes: int, bits: int) -> int:
    """Storage of CUB to sort pairs of keys and int64 values: the second arrays, and the counts."""
    if count <= _ONE_BLOCK:
        return 1
    tiles = ceil(count / _PAIRS_A_TILE.get(key_bytes, 4608))
    counts = _RADIX * (8 * ceil(bits / 8) + 4 * tiles + 2) - 1
    return _lines(key_bytes * count) + _lines(_INT64 * count) + counts


def _lines(num_bytes: int) -> int:
    return ceil(num_bytes / _LINE) * _LINE


def _index_put(args: tuple[Any, ...], result: Any) -> int:
    """Indexing.cu: linear ids, ids sorted, their origins and places, all int64; then CUB's."""
    if len(args) < 4 or not args[3]:
        return 0
    count = max(ids.numel() for ids in args[1] if ids is not None)
    bits = max(1, (args[0].size(0) - 1).bit_length())
    return 4 * _INT64 * count + _pairs(count, _INT64, bits)


def _embedding_backward(args: tuple[Any, ...], result: Any) -> int:
    """Embedding.cu: ids sorted with their origins, then sums of pieces of equal ids."""
    grad, ids, num_rows = args[0], args[1], int(args[2])
    count, size = ids.numel(), ids.element_size()
    if count <= _UNSORTED:
        return 0
    segments = min(count, num_rows)
    pieces = count // _ROWS_A_PIECE + segments
    sorting = 3 * size * count + _pairs(count, size, 8 * size)
    summing = size * (3 * count + 2 * segments + pieces) + 4 * pieces * grad.size(-1)
    return max(sorting, summing)


def _sort(args: tuple[Any, ...], result: Any) -> int:
    """Sort.cu, of one row: places of all numbers, a copy of short keys, and CUB's storage."""
    values, count = result[0], result[0].size(-1)
    size = values.element_size()
    copied = 0 if size == _INT64 else size * count
    storage = 0 if count <= _SMALL_SORT else _pairs(count, size, 8 * size)
    return _INT64 * count + copied + storage


def _attention(args: tuple[Any, ...], result: Any) -> int:
    """attention.cu: sums in float32 where a narrow head is too wide for the registers."""
    query, value = args[0], args[2]
    wide = query.element_size() == 2 and value.size(-1) > 128
    return 4 * result[0].numel() if wide else 0


def _attention_backward(args: tuple[Any, ...], result: Any) -> int:
    """attention_backward.cu and kernel_backward.h, for compute capability 8.0 and above.

    Of float32 the product grad * out is formed in full before it is summed. The gradient of the
    query is gathered in float32 tiles, for heads wider than the registers those of keys and values
    as well.
    """
    query, key, value = args[1], args[2], args[3]
    batch, heads, length, width = query.shape
    keys, widest, narrow = key.size(2), max(width, value.size(3)), query.element_size() == 2
    high = 64 if widest <= 64 else 128
    across = 128 if narrow and 64 < widest <= 128 else 64
    # Of float32 the sums of a product are made contiguous once more.
    sums = 4 * batch * heads * length * (1 if narrow else 2)
    product = 0 if narrow else 4 * batch * heads * length * value.size(3)
    tiles = ceil(length / high) * ceil(width / across) * (16 + 4 * high * across)
    if narrow and widest > high:
        splits = max(1, min(ceil(keys / across), 200 // (batch * heads)))
        tiles += 2 * 4 * splits * across * high * ceil(widest / high)
    return max(sums + product, 4 * batch * heads * length + batch * heads * tiles)


_Rule = Callable[[tuple[Any, ...], Any], int]
RULES: dict[Any, _Rule] = {
    **REDUCTIONS,
    aten.index_put_.default: _index_put,
    aten.index_put.default: _index_put,
    aten._index_put_impl_.default: _index_put,
    aten.embedding_dense_backward.default: _embedding_backward,
    aten.sort.stable: _sort,
    aten.sort.default: _sort,
    aten._scaled_dot_product_efficient_attention.default: _attention,
    aten._scaled_dot_product_efficient_attention_backward.default: _attention_backward,
}
