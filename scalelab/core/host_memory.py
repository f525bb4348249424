"""Read how much memory this machine has."""

import os
from pathlib import Path

__all__ = ["host_bytes"]


def host_bytes() -> int | None:
    """Memory of this machine, or of the container where that is lower; None if unknown."""
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text().strip() if limit.is_file() else "max"
    return min(physical, int(text)) if text.isdigit() else physical
