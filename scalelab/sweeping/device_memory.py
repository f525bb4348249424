"""Find the device of this machine that has memory for a job beside the runs that are there."""

from collections.abc import Collection, Sequence

from scalelab.sweeping.jobs import Job
from scalelab.workers.worker import ALLOWANCE

__all__ = ["find_room"]


def find_room(job: Job, running: Sequence[tuple[Job, str]], num_gpus: int) -> str | None:
    """Where the job can run now: cpu, or a GPU such as cuda:1; None while no device has room.

    `running` are jobs and where they run. A run that names `cuda` takes the GPU with the fewest
    runs of those that have room.
    """
    name = job.cell.spec.device.name
    places = [f"cuda:{index}" for index in range(max(1, num_gpus))] if name == "cuda" else [name]
    beside = {place: [other for other, at in running if at == place] for place in places}
    for place in sorted(places, key=lambda place: len(beside[place])):
        if _has_room(job, beside[place]):
            return place
    return None


def _has_room(job: Job, beside: Collection[Job]) -> bool:
    """Whether the predictions of `job` and of the runs beside it add up to what the device has.

    Else two runs that fit one by one would end each other, and a cell would be called too large
    that is not. Alone a job always has room; of what nothing is predicted nothing is held back.
    """
    forecast = job.forecast
    if forecast is None or forecast.device_bytes is None or not beside:
        return True
    # On a CPU a process takes more than its tensors; on a GPU that is part of the prediction.
    extra = ALLOWANCE if job.cell.spec.device.name == "cpu" else 0
    forecasts = [forecast, *(other.forecast for other in beside)]
    needed = sum((f.needed_bytes or 0) + extra for f in forecasts if f is not None)
    return needed <= forecast.device_bytes
