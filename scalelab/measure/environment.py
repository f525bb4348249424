"""Record this machine and its software as they are now."""

import platform
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

from scalelab.core.host_memory import host_bytes
from scalelab.core.records import Environment

__all__ = ["computing_with", "device_bytes", "environment", "untested_torch"]

# The newest torch that the whole suite has passed on.
_NEWEST_TESTED = (2, 14)


def untested_torch() -> str | None:
    """One line where torch is newer than any that scalelab was tested with, else None."""
    major, minor = (int(word) for word in torch.__version__.split(".")[:2])
    if (major, minor) <= _NEWEST_TESTED:
        return None
    newest = ".".join(map(str, _NEWEST_TESTED))
    return (
        f"torch {torch.__version__} is newer than the newest tested one ({newest}): "
        "compare a few predictions with what runs take"
    )


def environment(device: torch.device) -> Environment:
    """Host, device, driver, versions, commit and threads, as they are now."""
    return Environment(
        host=socket.gethostname(),
        device=_device_name(device),
        device_bytes=device_bytes(device),
        driver=_driver(device),
        torch=torch.__version__,
        python=platform.python_version(),
        scalelab=metadata.version("scalelab"),
        commit=_commit(),
        threads=torch.get_num_threads(),
    )


def device_bytes(device: torch.device) -> int | None:
    """Memory of the device: what CUDA offers of the GPU, or this machine's."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return host_bytes()


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _driver(device: torch.device) -> str | None:
    if device.type != "cuda":
        return None
    version = Path("/proc/driver/nvidia/version")
    return version.read_text().splitlines()[0].strip() if version.is_file() else None


@cache
def _commit() -> str | None:
    """The commit of the checkout that this package runs from, None for an installed one."""
    root = Path(__file__).resolve().parent.parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None  # no git here: the commit is not known
    return done.stdout.strip() or None


@contextmanager
def computing_with(count: int) -> Iterator[None]:
    """Torch computes with `count` threads (0: as it is), and afterwards as before."""
    before = torch.get_num_threads()
    if count:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
