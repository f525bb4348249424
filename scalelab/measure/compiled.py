"""Report the buffers that compiled code allocates to the active accounts.

Code made by `torch.compile` takes its buffers from a function of torch that bypasses the
dispatcher, so that no dispatch mode sees them. The function is wrapped before anything is compiled,
since compiled modules bind it when they are made; with no account active the wrapper costs one call
of Python per buffer.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["ALLOCATION_CALLBACKS", "report_allocations"]

ALLOCATION_CALLBACKS: list[Callable[[Tensor], None]] = []
_ALLOCATING = ("_empty_strided_cpu", "_empty_strided_cuda")


def report_allocations() -> None:
    """From now on compiled code calls `ALLOCATION_CALLBACKS` with every buffer.

    One call per process is enough; more change nothing.
    """
    guards: Any = torch._C._dynamo.guards  # pyright: ignore[reportAttributeAccessIssue]
    for name in _ALLOCATING:
        allocate = getattr(guards, name)
        if not hasattr(allocate, "original"):
            setattr(guards, name, _reporting(allocate))


def _reporting(allocate: Callable[..., Tensor]) -> Any:
    def wrapper(*arguments: Any) -> Tensor:
        tensor = allocate(*arguments)
        for callback in ALLOCATION_CALLBACKS:
            callback(tensor)
        return tensor

    wrapper.original = allocate  # pyright: ignore[reportFunctionMemberAccess]
    return wrapper
