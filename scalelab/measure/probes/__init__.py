"""Define what a probe is: an observer that takes readings while a run trains.

The name of its file is the name of a probe. It is built without arguments (keywords with defaults
are its options). `open` binds it to a device and a clock, `close` ends it; afterwards `samples` and
`memory()` hold what it read. A device or a library that is not there leaves a value of None with a
reason, never a zero.
"""

from collections.abc import Callable

import torch

from scalelab.core.events import Observer
from scalelab.core.records import Memory, Sample

__all__ = ["Probe", "missing"]


class Probe(Observer):
    """An observer that keeps readings. `name` is the probe's, as in the ledger."""

    name = "probe"

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._now: Callable[[], float] = lambda: 0.0

    def open(self, device: torch.device, now: Callable[[], float]) -> None:
        """The run is about to start on `device`; `now()` is seconds since it began."""
        self._now = now

    def close(self) -> None:
        """The run is over, whatever the outcome."""

    def memory(self) -> list[Memory]:
        """Figures of memory that this probe stands for, or the reason why there are none."""
        return []

    def sample(self, name: str, value: float | None, unit: str) -> None:
        """Keep one reading of now."""
        self.samples.append(
            Sample(at_s=self._now(), probe=self.name, name=name, value=value, unit=unit)
        )


def missing(stage: str, kind: str, reason: str) -> Memory:
    """A figure that could not be read, with the reason."""
    return Memory(
        stage=stage, kind=kind, component="total", bytes=None, reason=reason, source="measured"
    )
