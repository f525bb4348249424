"""Compute the bytes that CUDA's operations take from the allocator for themselves.

Derived from PyTorch's sources (2.11 to 2.14): what an operation allocates beside its result while
it runs. Sizes of CUB's temporary storage are approximate. No GPU has confirmed any of it yet.
"""

from collections.abc import Callable
from math import ceil
from typing import Any

import torch

__all__ = ["RULES"]

aten = torch.ops.aten
_INT64 = 8
# DeviceRadixSort sorts this many pairs of 8 bytes in one block of threads, without storage.
_ONE_BLOCK = 2304
# `embedding_dense_backward` adds up to this many rows without sorting, and cuts longer segments of
# equal ids into pieces of this many rows.
_UNSORTED, _ROWS_A_PIECE = 3072, 10
# Up to this many numbers are sorted in place, by a block of threads.
_SMALL_SORT = 4096


def _pairs(count: int, pair_bytes: int) -> int:
    """DeviceRadixSort: a second array of keys and values, and a table to look back in."""
    return 0 if count <= _ONE_BLOCK else pair_bytes * count + count // 5


def _index_put(args: tuple[Any, ...], result: Any) -> int:
    """Indexing.cu: linear ids, ids sorted, their origins and places, all int64; then CUB's."""
    if len(args) < 4 or not args[3]:
        return 0
    count = max(ids.numel() for ids in args[1] if ids is not None)
    return 4 * _INT64 * count + _pairs(count, 2 * _INT64)


def _embedding_backward(args: tuple[Any, ...], result: Any) -> int:
    """Embedding.cu: ids sorted with their origins, then sums of pieces of equal ids."""
    grad, ids, num_rows = args[0], args[1], int(args[2])
    count, size = ids.numel(), ids.element_size()
    if count <= _UNSORTED:
        return 0
    segments = min(count, num_rows)
    pieces = count // _ROWS_A_PIECE + segments
    sorting = 3 * size * count + _pairs(count, 2 * size)
    summing = size * (3 * count + 2 * segments + pieces) + 4 * pieces * grad.size(-1)
    return max(sorting, summing)


def _sort(args: tuple[Any, ...], result: Any) -> int:
    """Sort.cu: places of all numbers of a long row, and what the sort of pairs holds."""
    values, count = result[0], result[0].size(-1)
    if count <= _SMALL_SORT:
        return 0
    return _INT64 * count + _pairs(count, values.element_size() + _INT64)


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
    sums = 4 * batch * heads * length
    product = 0 if narrow else 4 * batch * heads * length * value.size(3)
    tiles = ceil(length / high) * ceil(width / across) * (16 + 4 * high * across)
    if narrow and widest > high:
        splits = max(1, min(ceil(keys / across), 200 // (batch * heads)))
        tiles += 2 * 4 * splits * across * high * ceil(widest / high)
    return max(sums + product, sums + batch * heads * tiles)


_Rule = Callable[[tuple[Any, ...], Any], int]
RULES: dict[Any, _Rule] = {
    aten.index_put_.default: _index_put,
    aten.index_put.default: _index_put,
    aten._index_put_impl_.default: _index_put,
    aten.embedding_dense_backward.default: _embedding_backward,
    aten.sort.stable: _sort,
    aten.sort.default: _sort,
    aten._scaled_dot_product_efficient_attention.default: _attention,
    aten._scaled_dot_product_efficient_attention_backward.default: _attention_backward,
}
