"""This machine and its software in, one record of them out."""

import os
import platform
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path

import torch

from scalelab.core.records import Environment

__all__ = ["computing_with", "device_bytes", "environment"]


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
    """Memory of the device: the GPU's, or this machine's (or container's, where that is lower)."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(physical, int(text)) if text.isdigit() else physical


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
