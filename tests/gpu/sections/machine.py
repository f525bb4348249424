"""Read what this GPU is, what a context and cuBLAS take of it, and how fast it works."""

import sys
import time
from functools import partial
from importlib import metadata
from pathlib import Path

import torch
from call import MIB, Call
from torch import nn

__all__ = ["run"]

SHOWN = ("VmData", "VmSize", "VmRSS", "RssAnon")


def run(call: Call) -> None:
    """Notes alone: these are the figures that device profiles hold."""
    call.note(
        python=sys.version.split()[0],
        torch=torch.__version__,
        cuda=torch.version.cuda,
        triton=_version("triton"),
    )
    if not call.is_cuda:
        return
    call.note(nvml_before_cuda_mib=_nvml())
    torch.zeros(1, device="cuda")
    call.sync()
    call.note(nvml_with_context_mib=_nvml())
    properties = torch.cuda.get_device_properties(0)
    call.note(
        name=properties.name,
        capability=[properties.major, properties.minor],
        total_mib=round(properties.total_memory / MIB, 1),
        multiprocessors=properties.multi_processor_count,
        free_and_total_mib=[round(size / MIB, 1) for size in torch.cuda.mem_get_info()],
        cudnn=torch.backends.cudnn.version(),
        precision_of_cudnn_rnn=torch.backends.cudnn.rnn.fp32_precision,  # pyright: ignore
        precision_of_products=torch.backends.cuda.matmul.fp32_precision,
    )
    _workspaces(call)
    _speeds(call)
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    status = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
    call.note(host_memory_with_cuda={key: status[key] for key in SHOWN})


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _nvml() -> dict[str, float]:
    """MiB by version: version 1 counts as used what the driver keeps for itself."""
    import pynvml

    pynvml.nvmlInit()
    handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    one = pynvml.nvmlDeviceGetMemoryInfo(handle)
    two = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
    pynvml.nvmlShutdown()
    sizes = {
        "used_v1": one.used,
        "used_v2": two.used,
        "reserved_v2": two.reserved,
        "total": one.total,
    }
    return {name: round(int(size) / MIB, 1) for name, size in sizes.items()}


def _workspaces(call: Call) -> None:
    """What the allocator holds after the first products: cuBLAS takes one workspace per thread."""
    left = torch.randn(512, 64, device="cuda", requires_grad=True)
    right = torch.randn(64, 64, device="cuda", requires_grad=True)
    bias = torch.zeros(64, device="cuda")
    call.sync()
    before = torch.cuda.memory_allocated()
    product = (left @ right).sum()
    call.sync()
    call.note(allocated_by_first_product=torch.cuda.memory_allocated() - before)
    product.backward()
    call.sync()
    call.note(allocated_with_its_backward=torch.cuda.memory_allocated() - before)
    nn.functional.linear(left, right, bias)
    call.sync()
    call.note(allocated_with_a_linear_layer=torch.cuda.memory_allocated() - before)
    call.note(nvml_with_cublas_mib=_nvml())


def _speeds(call: Call) -> None:
    source = torch.empty(2**28, device="cuda").normal_()
    copy = torch.empty_like(source)
    seconds = call.timed(partial(copy.copy_, source))
    call.note(copy_gb_s=round(2 * source.nbytes / seconds / 1e9))
    del source, copy
    hidden_ND, table_VD = (torch.randn(size, 64, device="cuda") for size in (4096, 65536))
    out_NV = torch.empty(4096, 65536, device="cuda")
    flops = 2 * out_NV.numel() * 64

    def speed(hidden_ND: torch.Tensor, table_VD: torch.Tensor, out_NV: torch.Tensor) -> float:
        seconds = call.timed(lambda: torch.mm(hidden_ND, table_VD.T, out=out_NV))
        return round(flops / seconds / 1e12, 1)

    found = {"fp32": speed(hidden_ND, table_VD, out_NV)}
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    found["tf32"] = speed(hidden_ND, table_VD, out_NV)
    torch.backends.cuda.matmul.fp32_precision = "ieee"
    found["bf16"] = speed(hidden_ND.bfloat16(), table_VD.bfloat16(), out_NV.bfloat16())
    call.note(products_of_width_64_tflops=found)
    square = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    seconds = call.timed(lambda: square @ square)
    call.note(square_bf16_tflops=round(2 * 8192**3 / seconds / 1e12))
    few = torch.zeros(8, device="cuda")
    call.sync()
    at = time.perf_counter()
    for _ in range(5000):
        few.add_(1.0)
    call.note(launch_us=round((time.perf_counter() - at) / 5000 * 1e6, 2))
