"""Ask the lab for what a sweep wants to know of a spec, and have it run a task.

The lab is imported by the functions that need it: a driver that is refused its ledger, or a study
with a misspelt key, must not wait for torch.
"""

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from scalelab.core import plugins
from scalelab.core.errors import DataError, MissingExtra, PredictionUnsupported, SpecError
from scalelab.core.events import Progress
from scalelab.core.records import Record
from scalelab.core.spec import DataSpec, RunSpec
from scalelab.sweeping.planner import Forecast
from scalelab.sweeping.task import Stop, Task

__all__ = [
    "RUN",
    "check_device",
    "fingerprint",
    "forecast",
    "gpu_uuids",
    "modules",
    "on_this_machine",
    "run",
]

_LOG = logging.getLogger(__name__)

RUN = "scalelab.sweeping.lab:run"
# Slow to import and wanted by every run: the optimizers of torch pull in its compiler.
_EVERY_RUN = ("torch._dynamo", "scalelab.measure.session", "scalelab.planning.predict")
# Their packages ask for GPUs when they are imported. In the process that runs are forked from, that
# could start CUDA, and no process forked afterwards could use it.
_ONLY_IN_THE_RUN = frozenset({"cut_ce", "liger_ce"})


def run(task: Task, report: Callable[[Progress], None], stop: Stop) -> Record:
    """Train and measure, in this process."""
    from scalelab.measure import session

    return session.run(
        task.spec,
        run_id=task.run_id,
        study_id=task.study_id,
        attempt=task.attempt,
        limits=session.Limits(memory_bytes=task.limits.memory_bytes, time_s=task.limits.time_s),
        report=report,
        stop=stop,
        keep=None if task.keep is None else Path(task.keep),
    )


def modules(specs: Sequence[RunSpec]) -> list[str]:
    """What the runs of these specs will import, each once."""
    parts = {
        f"{plugins.KINDS[kind]}.{name}"
        for spec in specs
        for kind, name in (
            ("models", spec.model.name),
            *(("losses", name) for name in {spec.loss.name} - _ONLY_IN_THE_RUN),
            ("packers", spec.batch.packer),
            ("readers", spec.data.reader),
            *(("negatives", source.name) for source in spec.negatives),
        )
    }
    return [*_EVERY_RUN, *sorted(parts)]


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


def forecast(
    specs: Sequence[RunSpec], budget_bytes: int | None
) -> tuple[list[Forecast | None], list[str]]:
    """What each run is expected to take, and remarks on those that nothing can be said about.

    A run that would not fit under the budget is too large; so is one that would not fit into this
    machine's memory, where the kernel might end something else in its place. What refuses to be
    rehearsed is a remark: the run itself may work. Raises DataError, and SpecError for a budget
    that the device does not have and for parts that cannot be built.
    """
    from scalelab.datasets.load import LengthsOnly, lengths
    from scalelab.measure.gpus import visible_gpus
    from scalelab.planning.buildable import check_buildable
    from scalelab.planning.devices import DeviceProfile, this_machine
    from scalelab.planning.predict import limit_bytes, predict

    known: dict[str, LengthsOnly] = {}
    devices: dict[str, DeviceProfile] = {}
    number = len(visible_gpus())
    found: list[Forecast | None] = []
    remarks: list[str] = []
    for spec in specs:
        key = spec.data.model_dump_json()
        if key not in known:
            known[key] = lengths(spec.data)
        name = spec.device.name
        if name != "cpu" and int(name.partition(":")[2] or 0) >= number:
            found.append(None)  # another machine will run it
            continue
        if name not in devices:
            devices[name] = this_machine(name)
        device = devices[name]
        limit_bytes(device, budget_bytes)
        try:
            prediction = predict(spec, device, budget_bytes=budget_bytes, data=known[key])
        except (PredictionUnsupported, MissingExtra) as error:
            remarks.append(f"no prediction for {spec.loss.name}: {error}")
            found.append(None)
            continue
        except DataError:
            raise
        except Exception as error:  # what cannot be rehearsed can still be run
            if isinstance(error, SpecError):
                check_buildable(spec, known[key].num_items)
            line = " ".join(str(error).split())
            remarks.append(f"no prediction for {spec.loss.name}: {type(error).__name__}: {line}")
            found.append(None)
            continue
        must_fit = budget_bytes is not None or device.kind == "cpu"
        found.append(
            Forecast(
                total_bytes=prediction.peak_bytes,
                # A process takes its context beside what is held against a budget.
                needed_bytes=prediction.needed_bytes + device.context_bytes,
                device_bytes=device.memory_bytes,
                seconds=math.sqrt(prediction.run_s.low * prediction.run_s.high),
                too_large=prediction.reason if must_fit else None,
                memory=tuple(prediction.rows()),
                num_items=known[key].num_items,
            )
        )
    return found, remarks
