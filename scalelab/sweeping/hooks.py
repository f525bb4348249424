"""List the functions that a sweep calls, so that tests can replace them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scalelab.core.records import Baseline
from scalelab.core.spec import DataSpec, RunSpec
from scalelab.studies.forecast import Forecast, forecast
from scalelab.sweeping import this_machine
from scalelab.workers import run_task

__all__ = ["ForecastFunction", "Hooks"]

ForecastFunction = Callable[
    [Sequence[RunSpec], int | None], tuple[Sequence[Forecast | None], Sequence[str]]
]


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """The real functions by default; tests replace them with quick ones."""

    run: str = run_task.RUN
    modules: Callable[[Sequence[RunSpec]], Sequence[str]] = run_task.modules
    fingerprint: Callable[[DataSpec], str] = this_machine.fingerprint
    check_device: Callable[[Sequence[RunSpec]], None] = this_machine.check_device
    forecast: ForecastFunction = forecast
    on_this_machine: Callable[[RunSpec], RunSpec] = this_machine.on_this_machine
    baselines: Callable[[RunSpec, str], Sequence[Baseline]] = this_machine.baselines
    gpus: Callable[[], Sequence[str]] = this_machine.gpu_uuids
