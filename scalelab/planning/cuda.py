"""A step on fake CPU tensors in, the operations that CUDA would run in its place out.

Fake CUDA tensors abort in backward on a build without CUDA, so the step is rehearsed on fake CPU
tensors and what differs is called by its CUDA form. Derived from PyTorch's sources (torch 2.13);
no GPU has confirmed it yet.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["as_on_cuda"]

# autocast_mode.h, AT_FORALL_FP32: CUDA computes these in fp32, the CPU in whatever comes.
_IN_FP32 = frozenset(
    {"layer_norm", "softmax", "log_softmax", "cross_entropy", "nll_loss", "softplus", "logsumexp"}
    | {"log", "exp", "log1p", "expm1", "pow", "rsqrt", "norm", "sum", "prod", "cumsum"}
)


class as_on_cuda(TorchFunctionMode):  # noqa: N801 - used like the context managers of torch
    """While active: dropout keeps a mask of bytes, attention takes the memory-efficient kernel."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if func is F.scaled_dot_product_attention:
            return _attention(*args, **kwargs)
        if func in (F.dropout, torch.dropout):
            return _dropout(*args, **kwargs)
        if name in _IN_FP32 and torch.is_autocast_enabled("cpu"):
            args = tuple(_fp32(value) for value in args)
            kwargs = {key: _fp32(value) for key, value in kwargs.items()}
        return func(*args, **kwargs)


def _fp32(value: Any) -> Any:
    wide = isinstance(value, Tensor) and value.dtype is torch.bfloat16
    return value.float() if wide else value


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or p == 0.0:
        return input
    return torch.native_dropout(input, p, True)[0]


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **other: Any,
) -> Tensor:
    """sdp_utils.cpp: a mask rules flash out; fp32 rules it out as well."""
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (part.to(torch.bfloat16) for part in (query, key, value))
    bias = None if attn_mask is None else _bias(attn_mask, query)
    attend: Callable[..., Any] = torch.ops.aten._scaled_dot_product_efficient_attention
    wants_sums = query.requires_grad or key.requires_grad or value.requires_grad
    return attend(query, key, value, bias, wants_sums, dropout_p, is_causal, scale=scale)[0]


def _bias(mask: Tensor, query: Tensor) -> Tensor:
    """attention.cpp: a mask becomes a bias of the query's type, its rows padded to 16 bytes."""
    length = mask.size(-1)
    if mask.dtype is torch.bool:
        zero = torch.zeros_like(mask, dtype=query.dtype)
        mask = zero.masked_fill_(mask.logical_not(), -torch.inf)
    every = 16 // mask.element_size()
    if length % every:
        mask = F.pad(mask, (0, every - length % every))[..., :length]
    return mask.expand(query.size(0), query.size(1), query.size(2), length)
