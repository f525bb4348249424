"""Check which parts of this machine work with scalelab, and say how to fix the others.

Importing this module does not import torch: a broken torch is one of the findings.
"""

import importlib
import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from scalelab.core import plugins
from scalelab.core.cores import available_cores
from scalelab.core.units import GIB, format_bytes

__all__ = ["Check", "run_checks"]

_LEAST_MEMORY_BYTES = 4 * GIB
_LEAST_DISK_BYTES = 2 * GIB
_REQUIRED = ("numba", "numpy", "duckdb", "pyarrow", "altair", "vl_convert", "safetensors")
_OPTIONAL = {
    "ray": ("ray", "sweeps on a cluster"),
    "optuna": ("search", "search instead of a grid"),
    "triton": ("triton", "the fused kernels of cross_entropy and sampled_softmax on a GPU"),
    "cut_cross_entropy": ("triton", "the loss cut_ce"),
    "liger_kernel": ("triton", "the loss liger_ce"),
}
_DISTRIBUTIONS = {"vl_convert": "vl-convert-python", "pynvml": "nvidia-ml-py"}


@dataclass(frozen=True, kw_only=True)
class Check:
    """One part of the machine. `state`: ok, absent (scalelab works without it) or bad.

    `fix` is the command or the advice that changes the state, empty where nothing is to be done.
    """

    name: str
    state: str
    detail: str
    fix: str


def run_checks() -> list[Check]:
    """Run all checks, in the order in which they depend on one another."""
    found = [_python(), _torch()]
    if found[-1].state == "ok":
        found += [_cuda(), _nvml(), _slices(), _allocator()]
    found += [_threads(), _memory(), _disk()]
    found += [_package(module) for module in _REQUIRED]
    found += [_extra(module, *about) for module, about in _OPTIONAL.items()]
    return [*found, _data()]


def _python() -> Check:
    return _ok("python", f"{platform.python_version()}, {sys.executable}")


def _torch() -> Check:
    def read() -> Check:
        import torch

        from scalelab.measure.environment import untested_torch

        number = torch.get_num_threads()
        detail = f"{torch.__version__}, {number} thread{'s' * (number != 1)}"
        newer = untested_torch()
        return _ok("torch", detail if newer is None else f"{detail}; {newer}")

    return _tried("torch", read, 'pip install "torch>=2.11"')


def _cuda() -> Check:
    def read() -> Check:
        import torch

        if torch.version.cuda is None:
            return _absent("cuda", "this torch is built for the CPU", "pip install a CUDA build")
        if not torch.cuda.is_available():
            text = f"torch has CUDA {torch.version.cuda}, but no GPU was found"
            return _absent("cuda", text, "see nvidia-smi: driver loaded, device visible?")
        devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
        text = ", ".join(f"{gpu.name} {format_bytes(gpu.total_memory)}" for gpu in devices)
        return _ok("cuda", f"{torch.version.cuda}: {text}")

    return _tried("cuda", read, "reinstall torch")


def _nvml() -> Check:
    def read() -> Check:
        import torch

        # The probe that reads NVML during runs is the only file that knows the library.
        probe = plugins.load("probes", "nvml")()
        probe.open(torch.device("cuda" if torch.cuda.is_available() else "cpu"), lambda: 0.0)
        probe.close()
        reasons = [figure.reason for figure in probe.memory() if figure.bytes is None]
        if reasons:
            return _absent("nvml", str(reasons[0]), "install the NVIDIA driver; see nvidia-smi")
        return _ok("nvml", ", ".join(sorted({sample.name for sample in probe.samples})))

    return _tried("nvml", read, "pip install nvidia-ml-py")


def _slices() -> Check:
    """Whether CUDA offers a MIG slice of a GPU: the driver counts memory of the whole GPU only."""

    def read() -> Check:
        probe = plugins.load("probes", "nvml")
        named = "MIG-" in os.environ.get("CUDA_VISIBLE_DEVICES", "")
        if named or any(gpu.is_sliced for gpu in probe.gpus() or ()):
            text = "a GPU is cut into MIG slices: device_used is not read, all else is the slice's"
            return _absent("mig", text, "nothing to do: reserved memory is measured as without MIG")
        return _ok("mig", "no GPU is cut into slices")

    return _tried("mig", read, "pip install nvidia-ml-py")


def _allocator() -> Check:
    """Whether PyTorch's allocator works as it is predicted to."""
    for name in ("PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"):
        words = os.environ.get(name, "").replace(" ", "").lower()
        if "expandable_segments:true" in words:
            text = f"{name} has expandable_segments:True: predictions of reserved do not hold"
            return _absent("allocator", text, f"unset {name} to compare predictions with runs")
    return _ok("allocator", "segments as predicted: no expandable_segments")


def _threads() -> Check:
    cores = available_cores()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    text = f"{cores} cores, load {load:.1f}"
    if os.environ.get("OMP_WAIT_POLICY", "").upper() != "PASSIVE":
        # Two spinning threads beside another job were seen to make a loop ten times slower.
        return _ok("threads", text, "for timings beside other jobs: export OMP_WAIT_POLICY=PASSIVE")
    return _ok("threads", f"{text}, OMP_WAIT_POLICY=PASSIVE")


def _memory() -> Check:
    info = Path("/proc/meminfo")
    if not info.is_file():
        return _absent(
            "memory", "/proc/meminfo is missing, so free memory is unknown", "watch it yourself"
        )
    pairs = (line.split(":") for line in info.read_text().splitlines())
    sizes = {name: int(value.split()[0]) * 1024 for name, value in pairs}
    text = f"{format_bytes(sizes['MemAvailable'])} of {format_bytes(sizes['MemTotal'])} available"
    if sizes["MemAvailable"] < _LEAST_MEMORY_BYTES:
        return _bad("memory", text, "end other programs, or sweep with --budget")
    return _ok("memory", text)


def _disk() -> Check:
    free = shutil.disk_usage(Path.cwd()).free
    text = f"{format_bytes(free)} free in {Path.cwd()}"
    if not os.access(Path.cwd(), os.W_OK):
        return _bad("disk", f"cannot write to {Path.cwd()}", "cd to a folder of yours")
    if free < _LEAST_DISK_BYTES:
        return _bad("disk", text, "free some space: ledgers and synthetic data need some")
    return _ok("disk", text)


def _package(module: str) -> Check:
    name = _DISTRIBUTIONS.get(module, module)

    def read() -> Check:
        importlib.import_module(module)
        return _ok(module, metadata.version(name))

    return _tried(module, read, f"pip install {name}")


def _extra(module: str, extra: str, what: str) -> Check:
    # Found, not imported: a cluster or a GPU kernel library takes seconds to import.
    if importlib.util.find_spec(module) is None:
        return _absent(module, f"needed only for {what}", f'pip install "scalelab[{extra}]"')
    return _ok(module, f"for {what}")


def _data() -> Check:
    folder = os.environ.get("SCALELAB_DATA")
    if not folder:
        fix = "export SCALELAB_DATA=FOLDER to name data sets without a path"
        return _absent("SCALELAB_DATA", "not set", fix)
    if not Path(folder).is_dir():
        return _bad("SCALELAB_DATA", f"no folder {folder}", "set it to a folder that exists")
    return _ok("SCALELAB_DATA", f"{folder}, {len(list(Path(folder).iterdir()))} entries")


def _tried(name: str, read: Callable[[], Check], fix: str) -> Check:
    """The result of `read`, or the error that it raised: a broken library raises any of them."""
    try:
        return read()
    except Exception as error:
        return _bad(name, " ".join(f"{type(error).__name__}: {error}".split()), fix)


def _ok(name: str, detail: str, fix: str = "") -> Check:
    return Check(name=name, state="ok", detail=detail, fix=fix)


def _absent(name: str, detail: str, fix: str) -> Check:
    return Check(name=name, state="absent", detail=detail, fix=fix)


def _bad(name: str, detail: str, fix: str) -> Check:
    return Check(name=name, state="bad", detail=detail, fix=fix)
