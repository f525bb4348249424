"""What code made by `torch.compile` allocates in, the active accounts told of it.

Such code takes its buffers from a function of torch, past the dispatcher, so that no dispatch mode
sees them. The function is wrapped before anything is compiled, since compiled modules bind it when
they are made; with no account active the wrapper costs a call of Python a buffer.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["LISTENERS", "listen"]

LISTENERS: list[Callable[[Tensor], None]] = []
_MAKERS = ("_empty_strided_cpu", "_empty_strided_cuda")


def listen() -> None:
    """From now on compiled code tells `LISTENERS` of every buffer. Once a process is enough."""
    guards: Any = torch._C._dynamo.guards  # pyright: ignore[reportAttributeAccessIssue]
    for name in _MAKERS:
        make = getattr(guards, name)
        if not hasattr(make, "makes"):
            setattr(guards, name, _told(make))


def _told(make: Callable[..., Tensor]) -> Any:
    def made(*arguments: Any) -> Tensor:
        tensor = make(*arguments)
        for listener in LISTENERS:
            listener(tensor)
        return tensor

    made.makes = make  # pyright: ignore[reportFunctionMemberAccess]
    return made
