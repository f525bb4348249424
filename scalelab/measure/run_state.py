"""Collect what a run has found so far, so that a run that fails leaves all of it."""

import time
from dataclasses import dataclass, field

from scalelab.core.events import Phase
from scalelab.core.records import (
    Baseline,
    Memory,
    Metric,
    Run,
    Sample,
    TimelineEvent,
    UserRanks,
)
from scalelab.measure.components import Account
from scalelab.measure.probes import Probe

__all__ = ["RunState"]


@dataclass(kw_only=True)
class RunState:
    """What is known so far, so that a run that fails leaves all of it."""

    row: Run
    begun: float
    metrics: list[Metric] = field(default_factory=list)
    memory: list[Memory] = field(default_factory=list)
    timeline: tuple[TimelineEvent, ...] = ()
    probes: list[Probe] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    ranks: UserRanks | None = None
    baselines: tuple[Baseline, ...] = ()
    account: Account | None = None
    phase: Phase = Phase.SETUP

    def now(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self.begun
