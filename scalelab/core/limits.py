"""Hold the limits of one run."""

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one run may take: bytes, and seconds of wall clock. None: no limit.

    Bytes of the kind that `memory_kinds.limited_kind` names: on CUDA that is neither host memory
    nor CUDA's context nor another process's memory.
    """

    memory_bytes: int | None = None
    time_s: float | None = None
