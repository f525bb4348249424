"""Record whether a loss ran its fused kernels or tiles of scores."""

from collections.abc import Callable

import torch

from scalelab.losses.kernels.choice import kernels_used
from scalelab.measure.probes import Probe

__all__ = ["KernelUsed"]


class KernelUsed(Probe):
    """One sample a loss, `<loss>_fused`: 1 where the fused kernels ran last, 0 where tiles did."""

    name = "kernel_used"

    def open(self, device: torch.device, now: Callable[[], float]) -> None:
        """What another run of this process took is nothing of this one."""
        super().open(device, now)
        kernels_used.clear()

    def close(self) -> None:
        """By now the loss has run."""
        for loss, way in kernels_used.items():
            self.sample(f"{loss}_fused", float(way == "fused"), "flag")
