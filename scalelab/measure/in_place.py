"""Recognise the additions that torch makes in place when no account is active.

Autograd adds up the gradients of a tensor that is used several times. It adds in place where
nothing else refers to the first gradient, but never while a dispatch mode is active, and the
account is one. So the account sees one buffer more than a step without it has:

    y = x * 2; ((y * 5).sum() + (y * 7).sum()).backward()

    without the account               with the account
    first   [xxxxxxxx]  n bytes       first   [xxxxxxxx]  n bytes
    second  [xxxxxxxx]  n bytes       second  [xxxxxxxx]  n bytes
    first.add_(second)                sum     [xxxxxxxx]  n bytes = first + second
    -> 2 n bytes                      -> 3 n bytes, then `first` is freed

The account counts `sum` in the memory of `first` (an in-place alias) if `InPlaceRules` say so and
`first` is freed before the next operation: then nothing else refers to it. After InputBuffer's
`accumulate` in torch/csrc/autograd/input_buffer.cpp.

In the same way `linear` adds its bias, and attention its mask, to a product of its own.
"""

import sys
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import _engine_run_backward  # noqa: PLC2701 # pyright: ignore

__all__ = ["MAY_ADD_IN_PLACE", "InPlaceRules", "current_node"]

aten = torch.ops.aten
# Under a dispatch mode, backward formulas of lookups choose these, not their in-place variants.
_OF_LOOKUPS = frozenset({aten.index_add.default, aten.index_put.default, aten.scatter_add.default})
MAY_ADD_IN_PLACE = _OF_LOOKUPS | {aten.add.Tensor}
_PRODUCTS = frozenset({aten.mm.default, aten.bmm.default})
_Site = tuple[tuple[int, int], ...]
# Frames that distinguish two calls which go through one wrapper, such as a mode for functions.
_FRAMES = 8
# Whose frames lie around those of modes; of "torch._ops" where one mode calls the next.
_AROUND_MODES = ("torch._dynamo", "torch._compile", "torch._ops", "torch.utils._python_dispatch")


class InPlaceRules:
    """Decides whether an operation would have written into its first argument without an account.

    Called by `__torch_dispatch__` itself: it looks at the frames of Python that lie behind that.
    """

    def __init__(self) -> None:
        self._product_site: _Site = ()
        self._product_cdata = 0

    def note(self, func: Any, result: Any) -> None:
        """`func` has made `result`: remember where a product of matrices was made."""
        if func in _PRODUCTS:
            self._product_site = _site()
            self._product_cdata = result.untyped_storage()._cdata

    def adds(
        self,
        func: Any,
        args: tuple[Any, ...],
        result: Tensor,
        made_by: tuple[int | None, int | None],
    ) -> bool:
        """Whether `func`, one of MAY_ADD_IN_PLACE, would have added in place.

        `made_by` is the `current_node` in which each of the two first arguments was made. The
        rules for gradients:

        1. The engine or a backward formula of torch calls, not Python code, and records no graph.
        2. It adds up gradients: the sum of two of them, or rows of a lookup.
        3. The first argument is a buffer of its own: not a view (which keeps its base alive, so the
           weight gradients of a GRU are really added out of place), and of the size of the result.

        The rule for products: the same call of Python has made the first argument by a product.
        `linear(x, weight, bias)` is one call and two operations; `x @ weight + bias` is two calls.
        """
        first, second = args[0], args[1]
        if not _has_its_size(first, result):
            return False
        if _site_is_the_engine() and not torch.is_grad_enabled():
            if first._is_view():
                return False
            return func in _OF_LOOKUPS or (
                isinstance(second, Tensor)
                and not _is_same(first, second)
                and _is_accumulation(made_by)
            )
        return (
            func is aten.add.Tensor
            and first.untyped_storage()._cdata == self._product_cdata
            and _site() == self._product_site
        )


def current_node() -> int | None:
    """The number of the autograd node whose backward formula runs, None outside of one."""
    node = torch._C._current_autograd_node()
    return None if node is None else node._sequence_nr()


def _site() -> _Site:
    """The instruction that runs in each of the innermost frames of Python, but for modes."""
    frame = _caller()
    found: list[tuple[int, int]] = []
    while frame is not None and len(found) < _FRAMES:
        found.append((id(frame.f_code), frame.f_lasti))
        frame = frame.f_back
    return tuple(found)


def _site_is_the_engine() -> bool:
    """Whether no Python code runs between `backward()` and the operation that is dispatched.

    A `Function` or a hook of the user's own may add out of place, and then really does.
    """
    frame = _caller()
    # On CUDA the engine has a thread of its own, without any frame of Python.
    return frame is None or frame.f_code is _engine_run_backward.__code__


def _caller() -> FrameType | None:
    """The frame of Python that called torch."""
    frame = sys._getframe(1)
    while frame is not None and _is_of_dispatch(frame):
        frame = frame.f_back
    return frame


def _is_of_dispatch(frame: FrameType) -> bool:
    """A frame of this file, of a dispatch mode, or of what torch puts around modes."""
    name = frame.f_globals.get("__name__", "")
    return (
        name == __name__
        or frame.f_code.co_name == "__torch_dispatch__"
        or name.startswith(_AROUND_MODES)
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


def _has_its_size(first: Any, result: Tensor) -> bool:
    if not isinstance(first, Tensor) or first.layout is not torch.strided:
        return False
    if result.layout is not torch.strided:
        return False
    return first.untyped_storage().nbytes() == result.untyped_storage().nbytes()


def _is_same(first: Tensor, second: Tensor) -> bool:
    if second.layout is not torch.strided:
        return False
    return first.untyped_storage()._cdata == second.untyped_storage()._cdata
