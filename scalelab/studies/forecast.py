"""Predict the memory and seconds of each run of a study before any of them starts.

torch is imported by the function that needs it: an invalid study must not wait for it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from scalelab.core.errors import DataError, MissingExtra, PredictionUnsupported, SpecError
from scalelab.core.records import Memory
from scalelab.core.spec import RunSpec

__all__ = ["Forecast", "forecast"]


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Predicted memory and time of a run. `memory` are the rows stored beside the measured ones.

    `total_bytes` is the peak that the ledger stores; `needed_bytes` is what the device must have
    for it, which is more (the process and its data, on a GPU CUDA's context), and `device_bytes`
    what it has. `too_large` is the reason to skip the run, or None. `seconds` is the middle of
    `seconds_range`, which is from an early end by patience at the highest speed to all epochs at
    the lowest; both count `pretraining_range`, None without one. `num_items` is the size of its
    catalog, which a skipped run needs for its row.
    """

    total_bytes: int | None
    needed_bytes: int | None = None
    device_bytes: int | None = None
    seconds: float | None
    seconds_range: tuple[float, float] | None = None
    pretraining_range: tuple[float, float] | None = None
    too_large: str | None = None
    memory: tuple[Memory, ...] = ()
    num_items: int | None = None

    @property
    def without_pretraining(self) -> "Forecast":
        """The same for a run that takes its pre-training over from another one."""
        if self.seconds_range is None or self.pretraining_range is None:
            return self
        whole, part = self.seconds_range, self.pretraining_range
        low, high = whole[0] - part[0], whole[1] - part[1]
        return replace(
            self, seconds=math.sqrt(low * high), seconds_range=(low, high), pretraining_range=None
        )


def forecast(
    specs: Sequence[RunSpec], budget_bytes: int | None
) -> tuple[list[Forecast | None], list[str]]:
    """A prediction for each run, and a remark on each that has none.

    A run that would not fit under the budget is too large; so is one that would not fit into this
    machine's memory, where the kernel might kill another process in its place. A part that cannot
    run on fake tensors gives a remark: the run itself may work. Raises DataError, and SpecError for
    a budget that the device does not have and for parts that cannot be built.
    """
    from scalelab.datasets.load import LengthsOnly, lengths
    from scalelab.measure.gpus import visible_gpus
    from scalelab.planning.buildable import check_buildable
    from scalelab.planning.devices import DeviceProfile, this_machine
    from scalelab.planning.limits import limit_bytes
    from scalelab.planning.predict import predict

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
        except Exception as error:  # what fails on fake tensors may still run
            if isinstance(error, SpecError):
                check_buildable(spec, known[key].num_items)
            line = " ".join(str(error).split())
            remarks.append(f"no prediction for {spec.loss.name}: {type(error).__name__}: {line}")
            found.append(None)
            continue
        process = prediction.process
        must_fit = budget_bytes is not None or device.kind == "cpu"
        found.append(
            Forecast(
                total_bytes=prediction.peak_bytes,
                # A process takes this beside what is held against a budget.
                needed_bytes=prediction.needed_bytes
                + (device.context_bytes if process is None else process.held),
                device_bytes=device.memory_bytes,
                seconds=math.sqrt(prediction.run_s.low * prediction.run_s.high),
                seconds_range=(prediction.run_s.low, prediction.run_s.high),
                pretraining_range=None
                if (before := prediction.pretraining_s) is None
                else (before.low, before.high),
                too_large=prediction.reason if must_fit else None,
                memory=tuple(prediction.rows()),
                num_items=known[key].num_items,
            )
        )
    return found, remarks
