"""Decide how fp32 matrix products are rounded on CUDA, for the length of a run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from scalelab.core.errors import SpecError

__all__ = ["check_precision", "products_in"]


def check_precision(precision: str, device_type: str) -> None:
    """Raises SpecError where a device has no such products."""
    if precision == "tf32" and device_type != "cuda":
        raise SpecError(
            "precision tf32 exists on CUDA only, and the device is a CPU",
            "set train.precision=fp32, or device.name=cuda",
        )


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Inside, fp32 products on CUDA take TF32 with "tf32" and full fp32 with all else.

    Torch's own default is mixed: products of matrices in fp32, cuDNN's recurrent layers in TF32.
    """
    # Of torch's two ways to say so the older one: what is set by the newer one makes every reader
    # of the older one raise, and torch.compile is such a reader.
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
