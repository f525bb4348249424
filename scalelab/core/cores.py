"""Count the processor cores that this process may use."""

import os

__all__ = ["available_cores"]


def available_cores() -> int:
    """Those it is bound to where the system says so, else all of the machine."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1
