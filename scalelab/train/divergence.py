"""Stop a training whose loss is not a number any more."""

from torch import Tensor

__all__ = ["LOOK_EVERY", "Diverged", "must_be_finite"]

# Steps between two looks at the loss, which wait for the device.
LOOK_EVERY = 50


class Diverged(Exception):
    """The loss or the scores are no longer finite numbers."""


def must_be_finite(total: Tensor, where: str) -> None:
    """Raises Diverged. Waits for the device."""
    if not bool(total.isfinite().all()):
        raise Diverged(f"the loss is not finite at {where}")
