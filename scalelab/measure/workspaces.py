"""Run an operation and say how many bytes it holds for itself while it runs.

Temporaries inside one operation are invisible from outside. On a device that computes they are
observed (`scalelab.measure.scratch`); on fake tensors they are added from this table. Each entry
was found by comparing with `torch.profiler`'s allocation events, operation by operation (torch
2.13, CPU); what CUDA does otherwise is in `cuda_workspaces`.
Differences below a kilobyte or so (scalars that are wrapped into tensors) are left out.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from scalelab.measure.cuda_workspaces import RULES as CUDA_RULES
from scalelab.measure.scratch import observed, observed_on_cuda, product_bytes

__all__ = ["IN_PLACE_UNOBSERVED", "RUN", "Run", "foreseen", "foreseen_on_cuda", "has_rule"]

aten = torch.ops.aten
# Gradients of lookups: autograd adds in place, but out of place while a dispatch mode looks on.
IN_PLACE_UNOBSERVED = frozenset(
    {aten.index_add.default, aten.index_put.default, aten.scatter_add.default}
)
# An operation runs, and tells its result and what it held for itself on the way.
Run = Callable[[Any, tuple[Any, ...], Any], tuple[Any, int]]
_Rule = Callable[[tuple[Any, ...], Any], int]


def foreseen(func: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, int]:
    """(result, bytes beside arguments and result at the worst moment) inside `func` on a CPU."""
    result = func(*args, **kwargs)
    rule = _rule(func)
    return result, 0 if rule is None else rule(args, result)


def foreseen_on_cuda(func: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, int]:
    """The same on a GPU: its kernels convert types as they read, cuBLAS has a lasting workspace."""
    result = func(*args, **kwargs)
    rule = CUDA_RULES.get(func) or (_rule(func) if func not in _ON_CPU_ALONE else None)
    return result, 0 if rule is None else rule(args, result)


def has_rule(func: Any) -> bool:
    """Whether the table says what `func` holds for itself on a CPU."""
    return _rule(func) is not None


def _rule(func: Any) -> _Rule | None:
    if func.namespace == "torch_nn":
        return _BY_NAME.get(func.name())
    return _RULES.get(func)


def _mixed(args: tuple[Any, ...], result: Any) -> int:
    """Element-wise on two types: operands of another type than the common one are copied first."""
    first, second = args[0], args[1]
    if not isinstance(second, Tensor) or first.dtype is second.dtype:
        return 0
    common = torch.result_type(first, second)
    return sum(
        operand.numel() * common.itemsize
        for operand in (first, second)
        if operand.dtype is not common
    )


def _reduced(args: tuple[Any, ...], result: Any) -> int:
    """A sum in another type than its argument's: the argument is copied to that type first."""
    return 0 if args[0].dtype is result.dtype else args[0].numel() * result.element_size()


def _logsumexp(args: tuple[Any, ...], result: Any) -> int:
    """exp(x - max) in full, and the sums beside the maxima."""
    return args[0].numel() * args[0].element_size() + result.numel() * result.element_size()


def _safe_softmax(args: tuple[Any, ...], result: Any) -> int:
    """Which places are -inf, which rows are nothing but that, and -inf itself."""
    rows = args[0].numel() // max(1, args[0].size(-1))
    return args[0].numel() + rows + args[0].element_size()


def _sort(args: tuple[Any, ...], result: Any) -> int:
    """A second array of indices."""
    return 8 * result[1].numel()


def _product(args: tuple[Any, ...], result: Any) -> int:
    """oneDNN multiplies bf16: dense copies of operands with other strides, packed blocks."""
    first, second = args[-2], args[-1]
    if first.dtype is not torch.bfloat16:
        return 0
    copies = sum(2 * part.numel() for part in (first, second) if not _is_dense(part))
    return copies + product_bytes(first, second)


def _attention(args: tuple[Any, ...], result: Any) -> int:
    """A block of scores, its maxima and sums, and rows of output, for each thread.

    FlashAttentionKernel.cpp: blocks of up to 256 queries and 512 keys, in fp32; scores of bf16 are
    kept in bf16 too.
    """
    query, key = args[0], args[1]
    (length, width), keys = query.shape[-2:], min(key.size(-2), 512)
    queries = min(length, 256 if length >= 768 else 64 if length >= 192 else 32)
    held = 4 * queries * (keys + 2 + width)
    if query.element_size() == 2:
        held += 2 * queries * keys
    return torch.get_num_threads() * held


def _linear_cross_entropy(args: tuple[Any, ...], result: Any) -> int:
    """A chunk's logits and rows, three numbers a position; for bf16 sums four fp32 tables."""
    hidden, table, chunk = args[0], args[1], int(args[8])
    (positions, width), rows = hidden.shape, table.size(0)
    extra = 4 * chunk * (rows + width) + 13 * positions
    if hidden.dtype is torch.bfloat16 and args[9] == "accurate":
        extra += 16 * rows * width + 2 * positions * width
    return extra


def _is_dense(matrix: Tensor) -> bool:
    """Taken as it is: a slice of one matrix is, a batch must be whole, also if transposed."""
    if matrix.dim() == 2:
        return 1 in matrix.stride()
    return matrix.is_contiguous() or matrix.transpose(-1, -2).is_contiguous()


_RULES: dict[Any, _Rule] = {
    **dict.fromkeys(
        (
            aten.add.Tensor,
            aten.add_.Tensor,
            aten.sub.Tensor,
            aten.sub_.Tensor,
            aten.mul.Tensor,
            aten.mul_.Tensor,
            aten.div.Tensor,
            aten.div_.Tensor,
            aten.eq.Tensor,
            aten.ne.Tensor,
            aten.gt.Tensor,
            aten.ge.Tensor,
            aten.lt.Tensor,
            aten.le.Tensor,
            aten.maximum.default,
            aten.minimum.default,
        ),
        _mixed,
    ),
    **dict.fromkeys((aten.sum.default, aten.sum.dim_IntList, aten.mean.dim), _reduced),
    aten.logsumexp.default: _logsumexp,
    aten._safe_softmax.default: _safe_softmax,
    aten._scaled_dot_product_flash_attention_for_cpu.default: _attention,
    aten.sort.stable: _sort,
    aten.sort.default: _sort,
    **dict.fromkeys((aten.mm.default, aten.mm.out, aten.addmm.default, aten.bmm.default), _product),
}
# CUDA's kernels convert types as they read, and oneDNN has no part in them.
_ON_CPU_ALONE = frozenset(
    func for func, rule in _RULES.items() if rule in (_mixed, _reduced, _product, _attention)
)
# Registered when it is first called, so known by name alone (torch 2.13 and later).
_BY_NAME = {"torch_nn::_linear_cross_entropy_batch_chunked": _linear_cross_entropy}
# By the kind of device that the account follows; fake tensors are "meta".
RUN: dict[str, Run] = {"cpu": observed, "cuda": observed_on_cuda, "meta": foreseen}
