"""Recognise the additions of gradients that autograd makes in place when no account is active.

Autograd adds up the gradients of a tensor that is used several times. It adds in place where
nothing else refers to the first gradient, but never while a dispatch mode is active, and the
account is one. So the account sees one buffer more than a step without it has:

    y = x * 2; ((y * 5).sum() + (y * 7).sum()).backward()

    without the account               with the account
    first   [xxxxxxxx]  n bytes       first   [xxxxxxxx]  n bytes
    second  [xxxxxxxx]  n bytes       second  [xxxxxxxx]  n bytes
    first.add_(second)                sum     [xxxxxxxx]  n bytes = first + second
    -> 2 n bytes                      -> 3 n bytes, then `first` is freed

The account counts `sum` in the memory of `first` (an in-place alias) if `adds_in_place` says so and
`first` is freed before the next operation: then nothing else refers to it. After InputBuffer's
`accumulate` in torch/csrc/autograd/input_buffer.cpp.
"""

import sys
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward  # noqa: PLC2701 # pyright: ignore

__all__ = ["MAY_ADD_IN_PLACE", "adds_in_place", "current_node"]

aten = torch.ops.aten
# Backward formulas of lookups choose these in place of their in-place forms under a dispatch mode.
_OF_LOOKUPS = frozenset({aten.index_add.default, aten.index_put.default, aten.scatter_add.default})
MAY_ADD_IN_PLACE = _OF_LOOKUPS | {aten.add.Tensor}


def adds_in_place(
    func: Any, args: tuple[Any, ...], result: Any, made_by: tuple[int | None, int | None]
) -> bool:
    """Whether autograd would have written `result` into its first argument without an account.

    `func` is one of MAY_ADD_IN_PLACE, `made_by` the `current_node` in which each of the two first
    arguments was made. The rules:

    1. The engine or a backward formula of torch calls, not Python code, and no graph is recorded.
    2. It adds up gradients: the sum of two of them, or rows of a lookup.
    3. The first argument is a buffer of its own: not a view (which keeps its base alive, so the
       weight gradients of a GRU are really added out of place), and of the size of the result (an
       expanded gradient has fewer bytes).
    """
    if torch.is_grad_enabled() or not _is_called_by_the_engine():
        return False
    if func in _OF_LOOKUPS:
        return _is_whole(args[0], result)
    first, second = args[0], args[1]
    if not isinstance(first, Tensor) or not isinstance(second, Tensor):
        return False
    return _is_accumulation(made_by) and _is_whole(first, result) and not _is_same(first, second)


def current_node() -> int | None:
    """The number of the autograd node whose backward formula runs, None outside of one."""
    node = torch._C._current_autograd_node()
    return None if node is None else node._sequence_nr()


def _is_called_by_the_engine() -> bool:
    """Whether no Python code runs between `backward()` and the operation that is dispatched.

    A `Function` or a hook of the user's own may add out of place, and then really does.
    """
    frame = sys._getframe(1)
    while frame is not None and _is_of_dispatch(frame):
        frame = frame.f_back
    # On CUDA the engine has a thread of its own, without any frame of Python.
    return frame is None or frame.f_code is _engine_run_backward.__code__


def _is_of_dispatch(frame: FrameType) -> bool:
    """A frame of this file, of a dispatch mode, or of what torch puts around modes."""
    name = frame.f_globals.get("__name__", "")
    return (
        name == __name__
        or frame.f_code.co_name == "__torch_dispatch__"
        or name.startswith(("torch._dynamo", "torch._compile", "torch.utils._python_dispatch"))
    )


def _is_accumulation(made_by: tuple[int | None, int | None]) -> bool:
    """Whether two gradients meet, rather than two terms of one backward formula.

    The engine adds the gradient that a node has just made to one that an earlier node made. Both
    are of one node only where that node sends two gradients to the same place, as in `y * y`.
    """
    node = torch._C._current_autograd_node()
    if node is None or made_by != (node._sequence_nr(), node._sequence_nr()):
        return True
    edges = [edge for edge in node.next_functions if edge[0] is not None]
    return len(set(edges)) < len(edges)


def _is_whole(first: Any, result: Any) -> bool:
    if first.layout is not torch.strided or result.layout is not torch.strided:
        return False
    same_size = first.untyped_storage().nbytes() == result.untyped_storage().nbytes()
    return same_size and not first._is_view()


def _is_same(first: Tensor, second: Tensor) -> bool:
    if second.layout is not torch.strided:
        return False
    return first.untyped_storage()._cdata == second.untyped_storage()._cdata
