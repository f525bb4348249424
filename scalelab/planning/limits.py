"""Say what a run may take of a device, and what code is to take the device for."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager

from scalelab.core.errors import SpecError
from scalelab.core.limits import process_limit
from scalelab.core.units import format_bytes
from scalelab.losses import Target
from scalelab.measure.gpus import visible_gpus
from scalelab.planning.devices import DeviceProfile
from scalelab.planning.host import ProcessBytes

__all__ = ["limit_bytes", "sizes_that_exist", "target_for"]


def limit_bytes(
    device: DeviceProfile, budget_bytes: int | None, process: ProcessBytes | None = None
) -> int:
    """What a run may take: the budget, else what the device has beside a process's context.

    On CUDA both limit what the caching allocator reserves. On a CPU they limit tensors, beside
    which the `process` must fit: into the machine, and into what a budget lets it grow by. Raises
    SpecError for a budget above what the device has.
    """
    beside = device.context_bytes if process is None else process.held
    there = max(0, device.memory_bytes - beside)
    if budget_bytes is None:
        return there
    if budget_bytes > device.memory_bytes:
        raise SpecError(
            f"a budget of {format_bytes(budget_bytes)} is more than the "
            f"{format_bytes(device.memory_bytes)} of {device.name}",
            "lower the budget, or name another device with --on",
        )
    if process is not None:
        there = min(there, max(0, process_limit(budget_bytes) - process.grown))
    return min(budget_bytes, there)


@contextmanager
def sizes_that_exist() -> Iterator[None]:
    """Raises SpecError where a tensor would have more bytes than a number can hold."""
    try:
        yield
    except RuntimeError as error:
        if "Storage size calculation overflowed" not in str(error):
            raise
        raise SpecError(
            "a tensor of this run would have more than 2^63 bytes",
            "give smaller sizes, such as of model, batch or catalog",
        ) from error


def target_for(device: DeviceProfile) -> Target | None:
    """What code is to take the device for, None for a CPU.

    Triton is taken to run on another machine's GPU; on this one's only where it is installed.
    """
    if device.kind != "cuda":
        return None
    triton = not visible_gpus() or importlib.util.find_spec("triton") is not None
    return Target(
        kind="cuda",
        memory_bytes=device.memory_bytes,
        capability=device.capability,
        triton=triton,
        multiprocessors=device.multiprocessors,
    )
