"""Read how much memory of its own a process holds (Linux; 0 on other systems)."""

import sys
from pathlib import Path

import psutil

__all__ = ["anonymous_bytes", "data_bytes"]


def anonymous_bytes(pid: int) -> int:
    """Resident memory that is neither of a file nor shared; 0 once the process has ended."""
    if sys.platform != "linux":
        return 0  # no other system reports shared resident memory
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.NoSuchProcess:
        return 0
    return memory.rss - memory.shared


def data_bytes() -> int:
    """Private writable memory of this process, as RLIMIT_DATA counts it (Linux)."""
    # psutil's `data` comes from /proc/PID/statm and includes the stack, which the limit does not.
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no line VmData")
