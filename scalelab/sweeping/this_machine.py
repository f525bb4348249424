"""Read the data fingerprints and devices of this machine for a sweep.

torch is imported by the functions that need it: a sweep that cannot lock its ledger must not wait.
"""

import logging
from collections.abc import Sequence

from scalelab.core.records import Baseline
from scalelab.core.spec import DataSpec, RunSpec

__all__ = ["baselines", "check_device", "fingerprint", "gpu_uuids", "on_this_machine"]

_LOG = logging.getLogger(__name__)


def fingerprint(data: DataSpec) -> str:
    """The fingerprint of the data, independent of their path. Raises DataError."""
    from scalelab.datasets import load

    return load.fingerprint(data)


def baselines(spec: RunSpec, data_fingerprint: str) -> tuple[Baseline, ...]:
    """The baselines of a run's data set and protocol. Raises DataError."""
    from scalelab.train.baselines import baseline_rows
    from scalelab.train.data import load_data

    data = load_data(spec)
    return baseline_rows(
        data.interactions,
        data.split,
        spec.data,
        data_fingerprint=data_fingerprint,
        protocol=spec.protocol,
        ks=spec.evaluate.ks,
    )


def on_this_machine(spec: RunSpec) -> RunSpec:
    """The spec with this machine's device in place of `auto`."""
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
