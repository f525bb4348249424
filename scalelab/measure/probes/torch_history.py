"""Record a snapshot of CUDA memory that PyTorch's memory viewer opens."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field

from scalelab.measure.probes import Probe

__all__ = ["TorchHistory"]


class TorchHistory(Probe):
    """Records allocations with their stacks and writes `snapshot.pickle` when it is closed.

    It is closed whatever the outcome, so a run that is out of memory leaves its last `entries`
    events as well. Slows every allocation, so it belongs into a memory pass. Opens at
    pytorch.org/memory_viz. No GPU has confirmed it yet; on a CPU it does nothing and `reason` says
    why.
    """

    name = "torch_history"

    def __init__(
        self,
        *,
        entries: Annotated[
            int, Field(ge=1, description="last events of the allocator that are kept")
        ] = 200_000,
        folder: Annotated[str, Field(description="where snapshot.pickle is written")] = ".",
    ) -> None:
        super().__init__()
        self.entries = entries
        self.folder = folder
        self.reason: str | None = None
        self._recording = False

    def open(self, device: torch.device, now: Callable[[], float]) -> None:
        """Start to record."""
        super().open(device, now)
        if device.type != "cuda":
            self.reason = "only CUDA's allocator keeps a history"
            return
        torch.cuda.memory._record_memory_history(max_entries=self.entries)
        self._recording = True

    def close(self) -> None:
        """Write the snapshot and stop recording."""
        if self._recording:
            self._recording = False
            folder = Path(self.folder)
            folder.mkdir(parents=True, exist_ok=True)
            torch.cuda.memory._dump_snapshot(str(folder / "snapshot.pickle"))
            torch.cuda.memory._record_memory_history(enabled=None)
