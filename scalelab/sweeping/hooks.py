"""Name the functions that a sweep calls for what it does not do itself."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scalelab.core.spec import DataSpec, RunSpec
from scalelab.sweeping import lab
from scalelab.sweeping.planner import Forecast

__all__ = ["ForecastFunction", "Hooks"]

ForecastFunction = Callable[
    [Sequence[RunSpec], int | None], tuple[Sequence[Forecast | None], Sequence[str]]
]


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """They are the lab's; tests put in quick ones."""

    run: str = lab.RUN
    modules: Callable[[Sequence[RunSpec]], Sequence[str]] = lab.modules
    fingerprint: Callable[[DataSpec], str] = lab.fingerprint
    check_device: Callable[[Sequence[RunSpec]], None] = lab.check_device
    forecast: ForecastFunction = lab.forecast
    on_this_machine: Callable[[RunSpec], RunSpec] = lab.on_this_machine
    gpus: Callable[[], Sequence[str]] = lab.gpu_uuids
