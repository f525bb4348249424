"""Choose a device with enough free memory for a job, given the runs that are on it."""

from collections.abc import Collection, Sequence

from scalelab.sweeping.jobs import Job

__all__ = ["find_device"]


def find_device(job: Job, running: Sequence[tuple[Job, str]], num_gpus: int) -> str | None:
    """The device for the job: cpu, or a GPU such as cuda:1; None while memory is too short.

    `running` are jobs and their devices. A run that names `cuda` takes, of the GPUs with enough
    memory, the one with the fewest runs.
    """
    name = job.configuration.spec.device.name
    devices = [f"cuda:{index}" for index in range(max(1, num_gpus))] if name == "cuda" else [name]
    jobs_on = {device: [other for other, at in running if at == device] for device in devices}
    for device in sorted(devices, key=lambda device: len(jobs_on[device])):
        if _fits_beside(job, jobs_on[device]):
            return device
    return None


def _fits_beside(job: Job, others: Collection[Job]) -> bool:
    """Whether the predicted bytes of `job` and `others` together fit into the device.

    Without this check two runs that fit one by one would run out of memory together, and a
    configuration would be stored as too large that is not. A job alone always fits; a run without
    a prediction counts as 0 bytes.
    """
    forecast = job.forecast
    if forecast is None or forecast.device_bytes is None or not others:
        return True
    forecasts = [forecast, *(other.forecast for other in others)]
    needed = sum(f.needed_bytes or 0 for f in forecasts if f is not None)
    return needed <= forecast.device_bytes
