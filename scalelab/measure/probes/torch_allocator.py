"""PyTorch's caching allocator in, what it gave out and what it holds out (CUDA)."""

import torch

from scalelab.core.records import Memory
from scalelab.measure.probes import Probe, missing

__all__ = ["TorchAllocator"]


class TorchAllocator(Probe):
    """Peaks of `allocated` and `reserved` between `begin` and `end` of a stage.

    `allocated` is what tensors asked for, rounded by the allocator; `reserved` is what the
    allocator holds, its cache and fragments included. On a CPU there is no such allocator: None,
    with that reason. No GPU has confirmed this probe yet.
    """

    name = "torch_allocator"

    def __init__(self) -> None:
        super().__init__()
        self._device = torch.device("cpu")
        self._rows: list[Memory] = []

    def open(self, device: torch.device, now: object) -> None:
        """Remember the device."""
        self._device = device

    def begin(self, stage: str) -> None:
        """Peaks start here."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)

    def end(self, stage: str) -> None:
        """Peaks end here and belong to `stage`."""
        if self._device.type != "cuda":
            reason = "the CPU has no caching allocator"
            kinds = ("allocated", "reserved")
            self._rows += [missing(stage, kind, reason) for kind in kinds]
            return
        torch.cuda.synchronize(self._device)
        peaks = {
            "allocated": torch.cuda.max_memory_allocated(self._device),
            "reserved": torch.cuda.max_memory_reserved(self._device),
        }
        self._rows += [
            Memory(
                stage=stage,
                kind=kind,
                component="total",
                bytes=peak,
                reason=None,
                source="measured",
            )
            for kind, peak in peaks.items()
        ]

    def memory(self) -> list[Memory]:
        """Rows of every stage that has ended."""
        return self._rows
