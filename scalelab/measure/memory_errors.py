"""Recognise the errors that mean that memory ran out."""

import re

import torch

__all__ = ["OverBudget", "out_of_memory"]

# cuBLAS, cuDNN, cuSPARSE and cuSOLVER each have a status of their own for it, cuDNN several.
_SIGNS = re.compile(
    r"DefaultCPUAllocator|can't allocate memory|CUDA out of memory|cudaErrorMemoryAllocation"
    r"|(CUDA error|\[CUDA\]): out of memory"
    r"|CU[A-Z]+_STATUS_([A-Z]+_)*ALLOC(ATION)?_FAILED"
)
# What cublasCreate also says where the card is full; a broken driver makes it say the same.
_NOT_INITIALIZED = "CUBLAS_STATUS_NOT_INITIALIZED"
# A cuBLAS handle and its kernels take about so much outside of PyTorch's allocator.
_HANDLE_BYTES = 256 * 2**20


class OverBudget(Exception):
    """The measured peak is above the budget of the run."""


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out: the one place that knows all its names.

    Too little shared memory for one Triton kernel (OutOfResources) is not the card's memory: no
    smaller batch would help, so it stays a failure.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError, OverBudget)):
        return True
    if not isinstance(error, RuntimeError):  # torch.AcceleratorError is one
        return False
    text = str(error)
    return bool(_SIGNS.search(text)) or (_NOT_INITIALIZED in text and _card_is_full())


def _card_is_full() -> bool:
    try:
        return torch.cuda.mem_get_info()[0] < _HANDLE_BYTES
    except RuntimeError:
        return False  # after a broken context CUDA answers nothing: then it was not the memory
