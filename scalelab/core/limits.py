"""Hold the limits of one run."""

from dataclasses import dataclass

__all__ = ["Limits", "process_limit"]

# A budget is for training's tensors, which the session counts to the byte. On a CPU the process
# holds data, compiled code and caches too: it may grow by this much more before it is ended.
_ALLOWANCE = 512 * 2**20


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one run may take: bytes, and seconds of wall clock. None: no limit.

    Bytes of the kind that `memory_kinds.limited_kind` names: on CUDA that is neither host memory
    nor CUDA's context nor another process's memory.
    """

    memory_bytes: int | None = None
    time_s: float | None = None


def process_limit(budget_bytes: int) -> int:
    """By how many bytes the whole process of a run on a CPU may grow under a memory budget."""
    return budget_bytes + _ALLOWANCE
