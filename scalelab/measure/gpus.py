"""This machine's GPUs in, without CUDA, what they have out."""

import pynvml

__all__ = ["smallest_gpu_bytes"]


def smallest_gpu_bytes() -> int | None:
    """Memory of this machine's smallest GPU; None where NVML does not answer or knows no GPU."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handles = map(pynvml.nvmlDeviceGetHandleByIndex, range(pynvml.nvmlDeviceGetCount()))
        sizes = [int(pynvml.nvmlDeviceGetMemoryInfo(handle).total) for handle in handles]
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()
    return min(sizes, default=None)
