"""Run an operation and measure or predict the temporary memory that it holds while it runs.

Temporaries inside one operation are invisible from outside. On a device that computes they are
observed (`scalelab.measure.scratch`); on fake tensors they are added from this table. Each entry
was found by comparing with `torch.profiler`'s allocation events, operation by operation (torch
2.13, CPU); what CUDA does otherwise is in `cuda_workspaces`.
What is left out are constant buffers of a few kilobytes, such as the state of a random generator.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from scalelab.measure.cuda_workspaces import RULES as CUDA_RULES
from scalelab.measure.scratch import observed, observed_on_cuda, product_bytes

__all__ = ["RUN", "Run", "has_rule", "predicted", "predicted_on_cuda"]

aten = torch.ops.aten
# What torch makes of a number of Python.
_WRAPPED = {
    bool: torch.bool,
    int: torch.int64,
    float: torch.float64,
    complex: torch.complex128,
}
# Runs an operation; returns its result and the bytes that it held for itself on the way.
Run = Callable[[Any, tuple[Any, ...], Any], tuple[Any, int]]
_Rule = Callable[[tuple[Any, ...], Any], int]


def predicted(func: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, int]:
    """(result, bytes beside arguments and result at the worst moment) inside `func` on a CPU."""
    result = func(*args, **kwargs)
    rule = _rule(func)
    return result, 0 if rule is None else rule(args, result)


def predicted_on_cuda(func: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, int]:
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


def _elementwise(args: tuple[Any, ...], result: Any) -> int:
    """Operands of another type than the common one are copied first; so are Python's numbers.

    A number becomes a tensor of int64, float64 or bool, and then one of the common type: `x * 0.5`
    of float32 holds 8 + 4 bytes, `ids + 1` of int64 holds 8.
    """
    common = torch.result_type(args[0], args[1])
    return sum(_copied(operand, common) for operand in args[:2])


def _copied(operand: Any, common: torch.dtype) -> int:
    if isinstance(operand, Tensor):
        return 0 if operand.dtype is common else operand.numel() * common.itemsize
    wrapped = _WRAPPED[type(operand)]
    return wrapped.itemsize + (0 if wrapped is common else common.itemsize)


def _counted_mean(args: tuple[Any, ...], result: Any) -> int:
    """A sum, which is then divided by a number."""
    return _copied(args[0].numel(), result.dtype)


def _steps(args: tuple[Any, ...], result: Any) -> int:
    """Adam's counters are added to one by one."""
    return _copied(args[1], args[0][0].dtype) if args[0] else 0


def _layer_norm_backward(args: tuple[Any, ...], result: Any) -> int:
    """Two rows of float32 for each thread, which sums the gradients of weight and bias."""
    width = args[1].size(-1)
    return 2 * 4 * width * torch.get_num_threads()


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
    queries, keys = _attention_block(args[0], args[1])
    held = 4 * queries * (keys + 2 + args[0].size(-1))
    if args[0].element_size() == 2:
        held += 2 * queries * keys
    return torch.get_num_threads() * held


def _attention_backward(args: tuple[Any, ...], result: Any) -> int:
    """Blocks of probabilities and of their gradients for each thread, one sum a query, and the
    gradient of the output side by side where it is not."""
    gradient = args[0]
    queries, keys = _attention_block(args[1], args[2])
    held = 2 * 4 * queries * keys
    if gradient.element_size() == 2:
        held += 2 * 2 * queries * keys
    is_dense = gradient.transpose(1, 2).is_contiguous()
    copied = 0 if is_dense else gradient.numel() * gradient.element_size()
    return torch.get_num_threads() * held + 4 * queries + copied


def _attention_block(query: Tensor, key: Tensor) -> tuple[int, int]:
    """Queries and keys of a block."""
    length = query.size(-2)
    queries = 256 if length >= 768 else 64 if length >= 192 else 32
    return min(length, queries), min(key.size(-2), 512)


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
    **{
        getattr(packet, overload): _elementwise
        for packet in (
            *(aten.add, aten.add_, aten.sub, aten.sub_, aten.mul, aten.mul_, aten.div, aten.div_),
            *(aten.eq, aten.ne, aten.gt, aten.ge, aten.lt, aten.le, aten.remainder, aten.rsub),
            *(aten.maximum, aten.minimum, aten.floor_divide),
        )
        for overload in packet.overloads()
        if overload in ("Tensor", "Scalar", "default")
    },
    aten.mean.default: _counted_mean,
    aten._foreach_add_.Scalar: _steps,
    aten.native_layer_norm_backward.default: _layer_norm_backward,
    **dict.fromkeys((aten.sum.default, aten.sum.dim_IntList, aten.mean.dim), _reduced),
    aten.logsumexp.default: _logsumexp,
    aten._safe_softmax.default: _safe_softmax,
    aten._scaled_dot_product_flash_attention_for_cpu.default: _attention,
    aten._scaled_dot_product_flash_attention_for_cpu_backward.default: _attention_backward,
    aten.sort.stable: _sort,
    aten.sort.default: _sort,
    **dict.fromkeys((aten.mm.default, aten.mm.out, aten.addmm.default, aten.bmm.default), _product),
}
# CUDA's kernels take numbers as they are and convert types as they read; oneDNN has no part there.
_RULES_OF_CPU = (
    *(_elementwise, _counted_mean, _steps, _layer_norm_backward),
    *(_reduced, _product, _attention, _attention_backward),
)
_ON_CPU_ALONE = frozenset(func for func, rule in _RULES.items() if rule in _RULES_OF_CPU)
# Registered when it is first called, so known by name alone (torch 2.13 and later).
_BY_NAME = {"torch_nn::_linear_cross_entropy_batch_chunked": _linear_cross_entropy}
# By the kind of device that the account follows; fake tensors are "meta".
RUN: dict[str, Run] = {"cpu": observed, "cuda": observed_on_cuda, "meta": predicted}
