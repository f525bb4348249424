"""Measure this machine's bandwidth, matrix products and cost of an operation; write its profile."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch

from scalelab.core.errors import ScalelabError, SpecError
from scalelab.core.whole_file import whole_file
from scalelab.losses import cuda_target
from scalelab.measure.environment import device_bytes, environment
from scalelab.measure.gpus import visible_gpus
from scalelab.planning.devices import calibrated_file, this_machine
from scalelab.planning.footprint import measure_footprint
from scalelab.planning.host_operations import operation_seconds

__all__ = ["calibrate"]

_LOG = logging.getLogger(__name__)

# One window of events around so many calls: a single call would measure the wait for it too.
_CALLS = 100
_PRECISIONS = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16}


def calibrate(out: Path | None = None) -> Path:
    """Measure this machine for a few seconds, write its device profile and return the file.

    Copying between large arrays, matrix products in fp32, tf32 and bf16, and a tiny operation; on
    the first GPU if there is one, else on the CPU with torch's present threads. On a GPU also what
    a process takes beside its tensors, and what the host takes for each operation of a small step.
    """
    file = out / "this-machine.toml" if out is not None and out.is_dir() else out
    path = file or calibrated_file()
    if path is None:
        message = "there is no home folder to keep the profile of this machine in"
        raise SpecError(message, "set XDG_CONFIG_HOME to a folder that you may write")
    gpus = visible_gpus()
    # First, while this process has no context of its own on that GPU.
    costs = _costs(gpus[0].uuid) if gpus else '[estimates]\ncontext = "0B"\n'
    device = torch.device("cuda", 0) if gpus else torch.device("cpu")
    copied = _copy_speed(device)
    flops = {name: _product_speed(device, name) / 1e12 for name in _PRECISIONS}
    tiny = torch.zeros(8, device=device)
    launch = _seconds(lambda: [tiny.add_(1.0) for _ in range(1000)], device) / 1000
    host = f"operation_us = {operation_seconds('cuda') * 1e6:.3g}\n" if gpus else ""
    facts = environment(device)
    path.parent.mkdir(parents=True, exist_ok=True)
    name = gpus[0].name if gpus else facts.device
    capability = "{}.{}".format(*gpus[0].capability) if gpus else "0.0"
    parts = f"multiprocessors = {cuda_target(0).multiprocessors}\n" if gpus else ""
    text = (
        f"# Measured by `scalelab doctor --calibrate` on {facts.host}, torch {facts.torch}, "
        f"{facts.threads} threads.\n"
        f'name = "{name}"\nkind = "{device.type}"\ncapability = "{capability}"\n{parts}'
        f'memory = "{device_bytes(device) or 2**34}B"\n'
        f"bandwidth_gb_s = {copied / 1e9:.4g}\n\n"
        f"[tflops]\n{''.join(f'{name} = {speed:.4g}{chr(10)}' for name, speed in flops.items())}\n"
        f"{costs}launch_us = {launch * 1e6:.3g}\n{host}"
        "# Not measured: how much of these speeds a whole step reaches, seen on other machines.\n"
        "efficiency = [0.45, 1.1]\n"
    )
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
    return path


def _costs(uuid: str) -> str:
    """The table of the workspace and the first lines of the estimates, measured where possible."""
    try:
        found = measure_footprint(uuid)
    except ScalelabError as error:
        _LOG.warning("%s; the estimate of the nearest profile stands in the file", error)
        context = this_machine("cuda").context_bytes
        return f'[estimates]\n# An estimate: {error}\ncontext = "{context}B"\n'
    return (
        "# What the first matrix product takes from PyTorch's allocator and keeps, a handle.\n"
        f'[cublas]\nworkspace = "{found.workspace}B"\n\n'
        "[estimates]\n"
        "# Measured: what the driver counts for a process beyond what PyTorch has reserved.\n"
        f'context = "{found.context}B"\n'
    )


def _copy_speed(device: torch.device) -> float:
    """Bytes read and written a second, between arrays that no cache holds."""
    size = 64 * 2**20
    if device.type == "cuda":
        size = min(2**30, (device_bytes(device) or 2**33) // 8)
    large = torch.empty(size // 4, device=device).fill_(1.0)
    target = torch.empty_like(large)
    return 2 * large.numel() * 4 / _seconds(lambda: target.copy_(large), device)


def _product_speed(device: torch.device, precision: str) -> float:
    # Long and narrow, as hidden states against a table are; a square product would flatter.
    rows = 4096 if device.type == "cuda" else 1024
    dtype = _PRECISIONS[precision]
    hidden = torch.randn(rows, 64, device=device).to(dtype)
    table = torch.randn(16384, 64, device=device).to(dtype)
    out = torch.empty(rows, 16384, device=device, dtype=dtype)
    with _tf32(precision == "tf32"):
        seconds = _seconds(lambda: torch.mm(hidden, table.T, out=out), device)
    return 2 * rows * 16384 * 64 / seconds


@contextmanager
def _tf32(is_on: bool) -> Iterator[None]:
    """Products of fp32 on CUDA take TF32, or do not; GPUs and CPUs without it are not changed."""
    settings = torch.backends.cuda.matmul
    before = settings.fp32_precision
    settings.fp32_precision = "tf32" if is_on else "ieee"
    try:
        yield
    finally:
        settings.fp32_precision = before


def _seconds(work: Callable[[], object], device: torch.device, repeats: int = 9) -> float:
    """Median seconds of one call of `work`, after a warm-up."""
    measured = _by_events if device.type == "cuda" else _by_clock
    for _ in range(2):
        work()
    return median(measured(work) for _ in range(repeats if device.type == "cpu" else 3))


def _by_clock(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _by_events(work: Callable[[], object]) -> float:
    """Of a GPU's own clock, in a window of many calls."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(_CALLS):
        work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000 / _CALLS
