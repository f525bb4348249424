"""Read from PyTorch's caching allocator what it gave out and what it holds (CUDA)."""

import torch

from scalelab.core.records import Memory
from scalelab.measure.probes import Probe, missing

__all__ = ["TorchAllocator"]

# The kinds of rows, with the allocator's own name of each figure.
_KINDS = {
    "requested_by_allocator": "requested_bytes",
    "allocated": "allocated_bytes",
    "reserved": "reserved_bytes",
}


class TorchAllocator(Probe):
    """Peaks between `begin` and `end` of a stage.

    `requested_by_allocator` is what tensors and libraries alike requested from the allocator, to
    the byte: cuBLAS has its workspaces from it. Its component `outside` is what lay there at
    `begin` and no tensor of the caller holds; `tensors` is the rest, which an account of the same
    work must equal. `allocated` is the same rounded, `reserved` what the allocator holds, its
    cache and fragments included. On a CPU there is no such allocator: None, with that reason.
    """

    name = "torch_allocator"

    def __init__(self) -> None:
        super().__init__()
        self._device = torch.device("cpu")
        self._outside = 0
        self._rows: list[Memory] = []

    def open(self, device: torch.device, now: object) -> None:
        """Remember the device."""
        self._device = device

    def begin(self, stage: str, tensor_bytes: int = 0) -> None:
        """Peaks start here; the caller's own tensors hold `tensor_bytes` now."""
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            current = torch.cuda.memory_stats(self._device)["requested_bytes.all.current"]
            self._outside = current - tensor_bytes

    def end(self, stage: str) -> None:
        """Peaks end here and belong to `stage`."""
        if self._device.type != "cuda":
            reason = "the CPU has no caching allocator"
            self._rows += [missing(stage, kind, reason) for kind in _KINDS]
            return
        torch.cuda.synchronize(self._device)
        stats = torch.cuda.memory_stats(self._device)
        for kind, name in _KINDS.items():
            peak = stats[f"{name}.all.peak"]
            self._note(stage, kind, "total", peak)
            if kind == "requested_by_allocator":
                self._note(stage, kind, "outside", self._outside)
                self._note(stage, kind, "tensors", peak - self._outside)

    def _note(self, stage: str, kind: str, component: str, num_bytes: int) -> None:
        self._rows.append(
            Memory(
                stage=stage,
                kind=kind,
                component=component,
                bytes=num_bytes,
                reason=None,
                source="measured",
            )
        )

    def memory(self) -> list[Memory]:
        """Rows of every stage that has ended."""
        return self._rows
