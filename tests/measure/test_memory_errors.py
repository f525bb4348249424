import pytest
import torch

from scalelab.measure import memory_errors
from scalelab.measure.memory_errors import OverBudget, out_of_memory

MEANS_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be reported"),
    MemoryError(),
    OverBudget("training takes 2 bytes, the budget is 1"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("Triton Error [CUDA]: out of memory"),
]


class OutOfResources(Exception):
    """As triton.runtime.errors has it."""


MEANS_SOMETHING_ELSE = [
    OutOfResources(
        "out of resource: shared memory, Required: 262144, Hardware limit: 232448. "
        "Reducing block sizes or `num_stages` may help."
    ),
    RuntimeError("Triton Error [CUDA]: out of resource: shared memory"),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("mat1 and mat2 shapes cannot be multiplied"),
    ValueError("CUDA error: out of memory"),
]


@pytest.mark.parametrize("error", MEANS_MEMORY, ids=str)
def test_every_name_of_it_is_out_of_memory(error: Exception) -> None:
    assert out_of_memory(error)


@pytest.mark.parametrize("error", MEANS_SOMETHING_ELSE, ids=str)
def test_other_faults_of_a_gpu_are_failures(error: Exception) -> None:
    assert not out_of_memory(error)


@pytest.mark.parametrize(("free", "expected"), [(2**20, True), (2**33, False), (None, False)])
def test_a_library_without_a_handle_is_out_of_memory_where_the_card_is_full(
    free: int | None, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told() -> tuple[int, int]:
        if free is None:
            raise torch.AcceleratorError("CUDA error: device-side assert triggered")
        return free, 2**34

    monkeypatch.setattr(memory_errors.torch.cuda, "mem_get_info", told)
    text = "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"
    assert out_of_memory(RuntimeError(text)) is expected
