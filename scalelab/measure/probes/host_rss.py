"""Read the resident memory of a process from the operating system: now, and at its highest."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from scalelab.core.records import Memory
from scalelab.measure.probes import Probe, missing

__all__ = ["HostRss"]

_STATUS = Path("/proc/self/status")


class HostRss(Probe):
    """Resident memory of this process: a sample at most every `every_s` seconds, and the peak.

    The peak is the kernel's own high-water mark (VmHWM) of the whole process, imports included; it
    means something for a run only where the run has a process of its own.
    """

    name = "host_rss"

    def __init__(
        self,
        *,
        every_s: Annotated[
            float, Field(ge=0, description="least seconds between two readings")
        ] = 1.0,
    ) -> None:
        super().__init__()
        self.every_s = every_s
        self.peak_bytes: int | None = None
        self._last = float("-inf")

    def open(self, device: torch.device, now: Callable[[], float]) -> None:
        """The first reading."""
        super().open(device, now)
        self._read()

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """Now and then a reading."""
        if time.monotonic() - self._last >= self.every_s:
            self._read()

    def on_epoch_end(self, epoch: int, loss: float, metrics: Mapping[str, float]) -> None:
        """A reading an epoch."""
        self._read()

    def close(self) -> None:
        """The last reading, and the peak."""
        self._read()
        self.peak_bytes = _peak()

    def memory(self) -> list[Memory]:
        """`host_rss` of the process."""
        if self.peak_bytes is None:
            reason = f"no high-water mark of memory on {sys.platform}"
            return [missing("process", "host_rss", reason)]
        return [
            Memory(
                stage="process",
                kind="host_rss",
                component="total",
                bytes=self.peak_bytes,
                reason=None,
                source="measured",
            )
        ]

    def _read(self) -> None:
        self._last = time.monotonic()
        now = _field("VmRSS")
        self.sample("rss", None if now is None else float(now), "byte")


def _field(name: str) -> int | None:
    if not _STATUS.is_file():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    return None


def _peak() -> int | None:
    mark = _field("VmHWM")
    if mark is not None or sys.platform == "win32":
        return mark
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
