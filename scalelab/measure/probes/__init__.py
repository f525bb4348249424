"""Read figures while a run trains. The file is the name of the probe.

A probe is an observer built without arguments (keywords with defaults are its options). `open`
binds it to a device and a clock, `close` ends it; afterwards `samples` and `memory()` hold what it
read. A device or a library that is not there leaves a value of None with a reason, never a zero.
A run chooses its probes by `measure.probes`; one of your own is named `./file.py:Class`,
`package.module:Class`, or by an entry point in the group `scalelab.probes`.
"""

from collections.abc import Callable
from typing import ClassVar

import torch

from scalelab.core import plugins
from scalelab.core.events import Observer
from scalelab.core.records import Memory, Sample
from scalelab.core.spec import RunSpec

__all__ = ["Probe", "chosen_probes", "missing"]


class Probe(Observer):
    """An observer that keeps readings.

    `name` is the probe's, as in the ledger; `device_types` says where it has something to read.
    """

    name = "probe"
    device_types: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

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


def chosen_probes(spec: RunSpec, device: torch.device) -> list[Probe]:
    """The probes that the spec names, of those that have something to read on `device`."""
    classes = {name: plugins.load("probes", name) for name in spec.measure.probes}
    return [
        plugins.made("probes", name)
        for name, part in classes.items()
        if device.type in part.device_types
    ]


def missing(stage: str, kind: str, reason: str) -> Memory:
    """A figure that could not be read, with the reason."""
    return Memory(
        stage=stage, kind=kind, component="total", bytes=None, reason=reason, source="measured"
    )
