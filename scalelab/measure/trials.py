"""Find what an operation holds for itself on this CPU by trying it on zeros of the same sizes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._C import _AutoDispatchBelowAutograd as _below_autograd  # noqa: PLC2701 # pyright: ignore
from torch.utils._python_dispatch import _disable_current_modes  # noqa: PLC2701
from torch.utils._pytree import tree_leaves, tree_map  # noqa: PLC2701

from scalelab.core.units import GIB, format_bytes
from scalelab.measure.scratch import observed
from scalelab.measure.workspaces import has_rule, predicted

__all__ = ["NOTHING_INSIDE", "Trials"]

# Its argument is a workspace that only oneDNN can fill: another one would end the process.
_NEVER = {
    torch.ops.aten.mkldnn_rnn_layer_backward.default: "what oneDNN's LSTM holds for itself in its "
    "backward pass is not counted"
}
# These hold next to nothing for themselves at any size, so they are believed where a trial would
# take too much (tests/measure/test_trials.py tries each).
NOTHING_INSIDE = frozenset(
    """
    _log_softmax _log_softmax_backward_data _softmax _softmax_backward_data
    nll_loss_forward nll_loss_backward embedding index_select gather cat stack clone copy_ _to_copy
    fill_ zero_ native_layer_norm
    """.split()
)
_OF_OPTIMIZERS = ("_foreach_", "_fused_")
# A trial takes at most this much memory of the machine that predicts.
_MOST_BYTES = GIB // 2


@dataclass(frozen=True)
class _Sketch:
    """Sizes, strides and type of a tensor."""

    size: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype
    num_bytes: int

    @classmethod
    def of(cls, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return cls(value.size(), value.stride(), value.dtype, value.nbytes)


# Bytes that it held, and the sizes of its results (None: not known).
_Found = tuple[int, list[torch.Size | None] | None]


class Trials:
    """Runs operations on fake tensors (`run`) and says what they would hold for themselves.

    By the table of `scalelab.measure.workspaces` where it knows the operation, else by a trial on
    this machine, once for each operation and sizes. `reasons` say what could not be tried.
    """

    def __init__(self) -> None:
        self._known: dict[Any, _Found] = {}
        self.reasons: dict[str, None] = {}

    def run(self, func: Any, args: tuple[Any, ...], kwargs: Any) -> tuple[Any, int]:
        """(result, bytes beside arguments and result at the worst moment)."""
        if has_rule(func):
            return predicted(func, args, kwargs)
        if any(tensor.layout is not torch.strided for tensor in _tensors((args, kwargs))):
            self.reasons[f"what {func} holds for itself of sparse tensors was not tried"] = None
            return func(*args, **kwargs), 0
        # Noted before it runs, since an operation in place may change sizes and strides.
        sketch = tree_map(_Sketch.of, (args, kwargs))
        result = func(*args, **kwargs)
        sketches = [leaf for leaf in tree_leaves(sketch) if isinstance(leaf, _Sketch)]
        if not sketches or _is_plain(func, sketches):
            return result, 0
        if func in _NEVER or func.namespace != "aten":
            reason = f"what the operation {func} holds for itself is not known"
            self.reasons[_NEVER.get(func, reason)] = None
            return result, 0
        num_bytes = sum(each.num_bytes for each in sketches) + sum(
            tensor.nbytes for tensor in _tensors(result) if tensor.layout is torch.strided
        )
        held, sizes = self._tried(func, sketch, num_bytes)
        return _with_sizes(result, sizes), held

    def _tried(self, func: Any, sketch: Any, num_bytes: int) -> _Found:
        leaves = tuple(
            leaf if isinstance(leaf, _Sketch) else repr(leaf) for leaf in tree_leaves(sketch)
        )
        key = func, leaves, torch.get_num_threads()
        if key not in self._known:
            if num_bytes > _MOST_BYTES:
                name = func.overloadpacket.__name__
                if name in NOTHING_INSIDE or name.startswith(_OF_OPTIMIZERS):
                    return 0, None
                size = format_bytes(num_bytes)
                self.reasons[f"what {func} of {size} holds for itself was not tried"] = None
                return 0, None
            try:
                self._known[key] = _try(func, sketch)
            except RuntimeError as error:
                line = " ".join(str(error).split())
                self.reasons[f"what {func} holds for itself cannot be tried: {line}"] = None
                self._known[key] = 0, None
        return self._known[key]


def _try(func: Any, sketch: Any) -> _Found:
    # Not under no_grad: oneDNN's LSTM keeps no workspace for a backward pass there.
    state = torch.get_rng_state()
    try:
        with _disable_current_modes(), _below_autograd(), torch.autocast("cpu", enabled=False):
            args, kwargs = tree_map(_zeros, sketch)
            found, held = observed(func, args, kwargs)
            return held, _sizes(found)
    finally:
        torch.set_rng_state(state)


def _zeros(value: Any) -> Any:
    if not isinstance(value, _Sketch):
        return value
    return torch.empty_strided(value.size, value.stride, dtype=value.dtype).zero_()


def _tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _is_plain(func: Any, sketches: list[_Sketch]) -> bool:
    """Element by element in one type, which takes nothing beside its result."""
    return torch.Tag.pointwise in func.tags and len({each.dtype for each in sketches}) == 1


def _with_sizes(result: Any, sizes: list[torch.Size | None] | None) -> Any:
    """Results of the sizes that they really have: only oneDNN knows that of its own workspace."""
    if sizes is None or not isinstance(result, (tuple, list)) or len(result) != len(sizes):
        return result
    return tuple(
        value.new_empty(size)
        if isinstance(value, Tensor) and size is not None and value.size() != size
        else value
        for value, size in zip(result, sizes, strict=True)
    )


def _sizes(found: Any) -> list[torch.Size | None] | None:
    if not isinstance(found, (tuple, list)):
        return None
    return [value.size() if isinstance(value, Tensor) else None for value in found]
