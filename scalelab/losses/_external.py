"""Check whether an external implementation of a loss can run before it is imported.

Their packages are imported by the first call, in the process that trains: to import liger-kernel
reads CUDA's devices, after which a process must not fork.
"""

import sys
from importlib.util import find_spec

import torch
from torch import Tensor

from scalelab.core.errors import MissingExtra, PredictionUnsupported, SpecError

__all__ = ["check_external"]


def check_external(name: str, package: str, hidden_ND: Tensor) -> None:
    """Raises MissingExtra, PredictionUnsupported on fake tensors, SpecError on a CPU."""
    if package not in sys.modules and find_spec(package) is None:
        raise MissingExtra(
            f"{name!r} needs the package {package!r}", 'pip install "scalelab[triton]"'
        )
    if isinstance(hidden_ND, torch._subclasses.FakeTensor):
        raise PredictionUnsupported(
            f"no prediction of {name}: its kernels run on a GPU only, and what they allocate is "
            "not known",
            "its runs are measured all the same",
        )
    if hidden_ND.device.type != "cuda":
        raise SpecError(f"{name} runs on CUDA, not on {hidden_ND.device.type}", "use cross_entropy")
