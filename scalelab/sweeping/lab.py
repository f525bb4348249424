"""A task or a spec in, what the lab says of it out: its record, its data's name, a prediction.

The lab is imported by the functions that need it: a driver that is refused its ledger, or a study
with a misspelt key, must not wait for torch.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from scalelab.core import plugins
from scalelab.core.errors import (
    MissingExtra,
    PredictionUnsupported,
    ScalelabError,
    SpecError,
)
from scalelab.core.events import Progress
from scalelab.core.records import Record
from scalelab.core.spec import DataSpec, RunSpec
from scalelab.sweeping.planner import Forecast
from scalelab.sweeping.task import Stop, Task

__all__ = ["RUN", "check_device", "fingerprint", "forecast", "modules", "run"]

RUN = "scalelab.sweeping.lab:run"
# Slow to import and wanted by every run: the optimizers of torch pull in its compiler.
_EVERY_RUN = ("torch._dynamo", "scalelab.measure.session", "scalelab.planning.predict")


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
            ("losses", spec.loss.name),
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


def check_device(specs: Sequence[RunSpec]) -> None:
    """Raises SpecError where a run wants a GPU and this machine has none."""
    from scalelab.planning.devices import this_machine

    wanted = {spec.device.name for spec in specs} - {"cpu"}
    if wanted and this_machine().kind != "cuda":
        raise SpecError(f"no CUDA GPU answers for {min(wanted)!r}", "write --device cpu")


def forecast(
    specs: Sequence[RunSpec], budget_bytes: int | None
) -> tuple[list[Forecast | None], list[str]]:
    """What each run is expected to take, and remarks on those that nothing can be said about.

    A run that would not fit under the budget is too large; so is one that would not fit into this
    machine's memory, where the kernel might end something else in its place. Raises DataError.
    """
    from scalelab.datasets.load import LengthsOnly, lengths
    from scalelab.planning.devices import load_device, this_machine
    from scalelab.planning.predict import predict

    known: dict[str, LengthsOnly] = {}
    machine = this_machine()
    devices = {
        machine.kind: machine,
        "cpu": machine if machine.kind == "cpu" else load_device("cpu"),
    }
    found: list[Forecast | None] = []
    remarks: list[str] = []
    for spec in specs:
        key = spec.data.model_dump_json()
        if key not in known:
            known[key] = lengths(spec.data)
        device = devices.get(spec.device.name.partition(":")[0])
        if device is None:  # another machine will run it
            found.append(None)
            continue
        try:
            prediction = predict(spec, device, budget_bytes=budget_bytes, data=known[key])
        except (PredictionUnsupported, MissingExtra) as error:
            remarks.append(f"no prediction for {spec.loss.name}: {error}")
            found.append(None)
            continue
        except ScalelabError:
            raise
        except Exception as error:  # what cannot be rehearsed can still be run
            line = " ".join(str(error).split())
            remarks.append(f"no prediction for {spec.loss.name}: {type(error).__name__}: {line}")
            found.append(None)
            continue
        must_fit = budget_bytes is not None or device.kind == "cpu"
        found.append(
            Forecast(
                total_bytes=prediction.peak_bytes,
                needed_bytes=prediction.needed_bytes,
                device_bytes=device.memory_bytes,
                seconds=math.sqrt(prediction.run_s.low * prediction.run_s.high),
                too_large=prediction.reason if must_fit else None,
                memory=tuple(prediction.rows()),
                num_items=known[key].num_items,
            )
        )
    return found, remarks
