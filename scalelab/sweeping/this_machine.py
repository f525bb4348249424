"""Ask this machine for its data and devices on behalf of a sweep.

torch is imported by the functions that need it: a driver that is refused its ledger must not wait.
"""

import logging
from collections.abc import Sequence

from scalelab.core.spec import DataSpec, RunSpec

__all__ = ["check_device", "fingerprint", "gpu_uuids", "on_this_machine"]

_LOG = logging.getLogger(__name__)


def fingerprint(data: DataSpec) -> str:
    """What the data are, wherever they lie. Raises DataError."""
    from scalelab.datasets import load

    return load.fingerprint(data)


def on_this_machine(spec: RunSpec) -> RunSpec:
    """The spec with the device that `auto` is here."""
    from scalelab.measure import gpus

    return gpus.on_this_machine(spec)


def check_device(specs: Sequence[RunSpec]) -> None:
    """Raises SpecError where a run wants a GPU that this machine does not have."""
    from scalelab.measure import gpus
    from scalelab.measure.environment import untested_torch

    for name in sorted({spec.device.name for spec in specs} - {"cpu"}):
        gpus.check_device(name)
    newer = untested_torch()
    if newer is not None:
        _LOG.warning(newer)


def gpu_uuids() -> tuple[str, ...]:
    """The UUIDs of the GPUs that the runs of this machine can be given."""
    from scalelab.measure.gpus import visible_gpus

    return tuple(gpu.uuid for gpu in visible_gpus())
