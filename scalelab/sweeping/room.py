"""A job and those that run in, whether the device has memory for it beside them out."""

from collections.abc import Iterable

from scalelab.sweeping.planner import Job
from scalelab.sweeping.worker import ALLOWANCE

__all__ = ["has_room"]


def has_room(job: Job, running: Iterable[Job]) -> bool:
    """Whether the predictions of `job` and of the runs on its device add up to what that has.

    Else two runs that fit one by one would end each other, and a cell would be called too large
    that is not. Alone a job always has room; of what nothing is predicted nothing is held back.
    """
    device = job.cell.spec.device.name
    beside = [other.forecast for other in running if other.cell.spec.device.name == device]
    forecast = job.forecast
    if forecast is None or forecast.device_bytes is None or not beside:
        return True
    # On a CPU a process takes more than its tensors; on a GPU that is part of the prediction.
    extra = ALLOWANCE if device == "cpu" else 0
    needed = sum((f.needed_bytes or 0) + extra for f in [forecast, *beside] if f is not None)
    return needed <= forecast.device_bytes
