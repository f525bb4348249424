"""Replace what a step runs on fake CPU tensors by the operations that CUDA would run.

Fake CUDA tensors abort in backward on a build without CUDA, so the step is predicted on fake CPU
tensors and what differs is called by its CUDA variant. Derived from PyTorch's sources (2.11 to
2.14); an H200 and an H100 with torch 2.11 have confirmed it (tests/gpu).
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from scalelab.core.errors import PredictionUnsupported
from scalelab.losses import Target, predicted_target

__all__ = ["as_on_cuda"]

# attention.cpp, mem_eff_alignment: every stride of a mask but the last is a multiple of it.
_ALIGNMENT = 8

# These are cuDNN's, or fused by PyTorch on CUDA alone.
_RECURRENT = frozenset({"gru", "lstm", "rnn_tanh", "rnn_relu", "gru_cell", "lstm_cell"})
_HALF_ATTENTION = (
    "attention in half precision is taken to run by the memory-efficient kernel; "
    "CUDA may choose flash or cuDNN's"
)

# autocast_mode.h, AT_FORALL_FP32: CUDA computes these in fp32, the CPU in whatever comes.
_IN_FP32 = frozenset(
    {"layer_norm", "softmax", "log_softmax", "nll_loss", "softplus", "logsumexp"}
    | {"log", "exp", "log1p", "expm1", "pow", "rsqrt", "norm", "sum", "prod", "cumsum"}
)


class as_on_cuda(TorchFunctionMode):  # noqa: N801 - used like the context managers of torch
    """While active, losses take the tiles of `target`, dropout keeps a mask of bytes, and attention
    is the kernel that CUDA takes.
    """

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        # Why what is run may not be what CUDA runs, for code that chooses its kernels otherwise
        # than the models of this package.
        self.reasons: dict[str, None] = {}

    def __enter__(self) -> "as_on_cuda":
        self._before = predicted_target.set(self._target)
        super().__enter__()
        return self

    def __exit__(self, *args: Any) -> None:
        super().__exit__(*args)
        predicted_target.reset(self._before)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if func is F.scaled_dot_product_attention:
            return self._attend(*args, **kwargs)
        if func in (F.dropout, torch.dropout):
            return _dropout(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            with self._inside_attention():
                return func(*args, **kwargs)
        if func is F.cross_entropy and torch.is_autocast_enabled("cpu"):
            if _is_plain_loss(*args, **kwargs):
                return _cross_entropy(*args, **kwargs)
            self.reasons["cross-entropy with options under autocast is that of a CPU"] = None
        if name in _RECURRENT:
            raise PredictionUnsupported(
                "no prediction of a recurrent network on CUDA: only cuDNN decides what it reserves",
                "its runs are measured all the same; predict it for a CPU with --on cpu",
            )
        if name in _IN_FP32 and torch.is_autocast_enabled("cpu"):
            args = tuple(_fp32(value) for value in args)
            kwargs = {key: _fp32(value) for key, value in kwargs.items()}
        return func(*args, **kwargs)

    def _attend(self, *args: Any, **kwargs: Any) -> Tensor:
        query = args[0] if args else kwargs["query"]
        if query.element_size() == 2 or torch.is_autocast_enabled("cpu"):
            self.reasons[_HALF_ATTENTION] = None
        return _attention(self._target.capability, *args, **kwargs)

    @contextmanager
    def _inside_attention(self) -> Iterator[None]:
        """What torch's own multi-head attention calls: a mode does not see calls inside a call
        that it has seen.
        """
        before = F.dropout, F.scaled_dot_product_attention
        functional: Any = F
        functional.dropout, functional.scaled_dot_product_attention = _dropout, self._attend
        try:
            yield
        finally:
            functional.dropout, functional.scaled_dot_product_attention = before


def _fp32(value: Any) -> Any:
    narrow = isinstance(value, Tensor) and value.dtype in (torch.bfloat16, torch.float16)
    return value.float() if narrow else value


def _is_plain_loss(scores: Tensor, targets: Tensor, *options: Any, **named: Any) -> bool:
    """The mean over rows of scores, of targets that are ids."""
    defaults = {"weight": None, "reduction": "mean", "label_smoothing": 0.0, "ignore_index": -100}
    plain = all(named.get(key, value) == value for key, value in defaults.items())
    return plain and not options and scores.dim() == 2 and targets.dim() == 1


def _cross_entropy(scores: Tensor, targets: Tensor, **defaults: Any) -> Tensor:
    """Loss.cpp under autocast: log_softmax has the scores' own type, nll_loss takes float32."""
    logs = torch.ops.aten._log_softmax.default(scores, 1, False)
    logs = logs.float()
    return torch.ops.aten.nll_loss_forward.default(logs, targets, None, 1, -100)[0]


def _dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    if not training or p == 0.0:
        return input
    return torch.native_dropout(input, p, True)[0]


def _attention(
    capability: tuple[int, int],
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    **other: Any,
) -> Tensor:
    """As `scalelab.models._blocks` has it: the memory-efficient kernel, else the plain one."""
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        query, key, value = (part.to(dtype) for part in (query, key, value))
    bias = None if attn_mask is None else _as_bias(attn_mask, query)
    del attn_mask
    # No name holds them: what a name holds has not been freed when the next is allocated.
    if not _is_efficient(
        capability, [each for each in (query, key, value, bias) if each is not None]
    ):
        if is_causal:
            size = query.size(-2), key.size(-2)
            bias = _as_bias(torch.ones(size, dtype=torch.bool).tril(), query)
        with torch.autocast("cpu", enabled=False):
            return _plain(query, key, value, bias=bias, dropout_p=dropout_p, scale=scale)
    if bias is not None:
        bias = _aligned(bias).expand(*query.shape[:3], key.size(2))
    attend: Callable[..., Any] = torch.ops.aten._scaled_dot_product_efficient_attention
    inputs_want = query.requires_grad or key.requires_grad or value.requires_grad
    wants_sums = inputs_want and torch.is_grad_enabled()
    return attend(query, key, value, bias, wants_sums, dropout_p, is_causal, scale=scale)[0]


def _is_efficient(capability: tuple[int, int], operands: Sequence[Tensor]) -> bool:
    """sdp_utils.cpp: which types, widths of a head and strides the memory-efficient kernel takes.

    A learned bias whose heads lie next to each other in memory, as `DistanceBias` makes it, is
    refused: an H100 ran the plain kernel, to the byte.
    """
    query = operands[0]
    width, narrow = query.size(-1), query.element_size() == 2
    if query.dim() != 4:
        return False
    if any(operand.stride(-1) != 1 for operand in operands):
        return False
    if capability[0] < 8:
        return not narrow
    return width % (8 if narrow else 4) == 0


def _as_bias(mask: Tensor, query: Tensor) -> Tensor:
    """attention.cpp, convert_boolean_attn_mask: 0 or -inf, in the query's type."""
    if mask.dtype is not torch.bool:
        return mask
    zero = torch.scalar_tensor(0.0, dtype=query.dtype)
    return torch.where(mask, zero, torch.scalar_tensor(-torch.inf, dtype=query.dtype))


def _aligned(bias: Tensor) -> Tensor:
    """attention.cpp, preprocess_mask: rows padded where a stride is not aligned."""
    if all(stride % _ALIGNMENT == 0 for stride in bias.stride()[:-1]):
        return bias
    length = bias.size(-1)
    return F.pad(bias, (0, _ALIGNMENT - length % _ALIGNMENT))[..., :length]


def _plain(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    bias: Tensor | None,
    dropout_p: float,
    scale: float | None,
) -> Tensor:
    """attention.cpp, _scaled_dot_product_attention_math: in float32, scores in full."""
    given = query.dtype
    query, key, value = (part.float() for part in (query, key, value))
    factor = math.sqrt(scale or query.size(-1) ** -0.5)
    weights = (query * factor) @ (key.transpose(-2, -1) * factor)
    if bias is not None:
        weights.add_(bias)
    weights = torch.ops.aten._safe_softmax(weights, -1)
    if dropout_p > 0.0:
        weights = _dropout(weights, dropout_p)
    return (weights @ value).to(given)
