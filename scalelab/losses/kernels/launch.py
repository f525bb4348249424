"""Launch a Triton kernel, without Triton's look-up from the second time on.

Triton looks at every argument of every launch, since any may ask for other code. These kernels ask
for other code only where types, constants or missing arguments differ; their numbers are not
specialised and their tensors are aligned. On small catalogs a step waits for such launches.
"""

from typing import Any

import torch
from torch import Tensor

__all__ = ["launch"]

_ALIGNED = 16
_compiled: dict[tuple[Any, ...], Any] = {}


def launch(kernel: Any, grid: tuple[int, ...], *args: Any, **options: Any) -> None:
    """Launch `kernel` on the current stream; `options` are its constants and Triton's own options.

    The constants must be the kernel's last parameters, in their order.
    """
    key: list[Any] = [kernel, torch.cuda.current_device() if torch.cuda.is_initialized() else None]
    for arg in args:
        if isinstance(arg, Tensor):
            if arg.data_ptr() % _ALIGNED:
                kernel[grid](*args, **options)  # other code, which Triton finds
                return
            key.append(arg.dtype)
        elif isinstance(arg, int):
            key.append(arg.bit_length() > 31)
        else:
            key.append(type(arg))
    known = (*key, *options.values())
    compiled = _compiled.get(known)
    if compiled is None:
        _compiled[known] = kernel[grid](*args, **options)
        return
    constants = (options[name] for name in kernel.arg_names[len(args) :])
    compiled[(*grid, 1, 1)[:3]](*args, *constants)
