"""Let the backward pass of attention on a GPU add up in one order, so that a seed gives one result.

PyTorch's memory-efficient attention gives the keys of long sequences to several blocks of threads,
which add to the gradient of the query in any order, but not while its deterministic algorithms are
on (attention_backward.cu). For a whole step they would cost much more: other operations raise, and
every new tensor is filled.
"""

from collections.abc import Generator
from contextlib import contextmanager

import torch
from torch import Tensor

__all__ = ["add_in_one_order", "deterministic_as_before"]


def add_in_one_order(mixed: Tensor, inputs: tuple[Tensor, ...]) -> None:
    """Turn deterministic algorithms on for the operation alone that made `mixed` of `inputs`.

    Where that operation fails they stay on, so a backward pass belongs in
    `deterministic_as_before`.
    """
    before = torch.are_deterministic_algorithms_enabled()
    if before or not mixed.requires_grad or torch.compiler.is_compiling():
        return

    def on(_: Tensor) -> None:
        _set(True)

    def off(_: Tensor) -> None:
        _set(False)

    mixed.register_hook(on)
    for each in inputs:
        if each.requires_grad:
            each.register_hook(off)


@contextmanager
def deterministic_as_before() -> Generator[None]:
    """Leave the setting as it was, also where what runs inside raises."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        yield
    finally:
        _set(before, warn_only)


def _set(is_on: bool, warn_only: bool = False) -> None:
    # `torch.use_deterministic_algorithms` imports the compiler first: a second and 110 to 150 MiB.
    torch._C._set_deterministic_algorithms(is_on, warn_only=warn_only)  # pyright: ignore[reportPrivateUsage]
