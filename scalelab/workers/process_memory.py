"""A process id in, bytes of memory that are its own out (Linux; 0 where there is no /proc)."""

import os
from pathlib import Path

__all__ = ["anonymous_bytes", "data_bytes"]

_PAGE = os.sysconf("SC_PAGE_SIZE")


def anonymous_bytes(pid: int) -> int:
    """Resident memory that is neither a file's nor shared; 0 once the process is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0  # it has ended, or this system has no /proc
    return (int(fields[1]) - int(fields[2])) * _PAGE


def data_bytes(pid: int) -> int:
    """Private writable memory, as RLIMIT_DATA counts it."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
