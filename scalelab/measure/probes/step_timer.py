"""Time every training step, by the clock on a CPU and by CUDA events on a GPU."""

import time
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field

from scalelab.core.events import Phase
from scalelab.measure.probes import Probe

__all__ = ["StepTimer"]


class StepTimer(Probe):
    """Seconds of every training step but the first `warm_up` ones; median and quartiles of the
    rest. Steps of a pre-training are others and are left out.

    On CUDA an event is recorded at each border and read when the epoch is over, so that no step
    waits for the device. At most `keep` single steps become samples, evenly spaced; all of them
    count in the statistics.
    """

    name = "step_timer"

    def __init__(
        self,
        *,
        warm_up: Annotated[int, Field(ge=0, description="first steps that are not timed")] = 3,
        keep: Annotated[int, Field(ge=1, description="most timed steps kept as samples")] = 400,
    ) -> None:
        super().__init__()
        self.warm_up = warm_up
        self.keep = keep
        self.seconds: list[float] = []
        self.positions = 0
        self._seen = 0
        self._at: list[float] = []
        self._device = torch.device("cpu")
        self._start: float = 0.0
        self._events: list[tuple[torch.cuda.Event, torch.cuda.Event, float]] = []
        self._open_event: torch.cuda.Event | None = None
        self._is_pretraining = False

    def open(self, device: torch.device, now: Callable[[], float]) -> None:
        """Remember the device."""
        super().open(device, now)
        self._device = device

    def on_phase_start(self, phase: Phase) -> None:
        """Pre-training starts."""
        self._is_pretraining |= phase is Phase.PRETRAIN

    def on_phase_end(self, phase: Phase) -> None:
        """Pre-training ends."""
        self._is_pretraining &= phase is not Phase.PRETRAIN

    def on_step_start(self, epoch: int, step: int) -> None:
        """The batch is on the device."""
        if self._is_pretraining:
            return
        if self._device.type == "cuda":
            self._open_event = self._recorded()
        else:
            self._start = time.perf_counter()

    def on_step_end(self, epoch: int, step: int, num_positions: int) -> None:
        """The optimizer has moved."""
        if self._is_pretraining:
            return
        self.positions += num_positions
        self._seen += 1
        if self._open_event is not None:
            end = self._recorded()
            if self._seen > self.warm_up:
                self._events.append((self._open_event, end, self._now()))
        elif self._seen > self.warm_up:
            self.seconds.append(time.perf_counter() - self._start)
            self._at.append(self._now())

    def on_epoch_end(self, epoch: int, loss: float, metrics: object) -> None:
        """Read the events of the epoch; the device has finished with them by now."""
        self._read_events()

    def close(self) -> None:
        """Turn steps into samples."""
        self._read_events()
        stride = max(1, -(-len(self.seconds) // self.keep))
        for index in range(0, len(self.seconds), stride):
            self._now = lambda at=self._at[index]: at
            self.sample("step_s", self.seconds[index], "second")

    def _recorded(self) -> torch.cuda.Event:
        """An event on the stream of the run's device, which need not be the current one."""
        event = torch.cuda.Event(enable_timing=True)
        event.record(torch.cuda.current_stream(self._device))
        return event

    def _read_events(self) -> None:
        if self._events:
            self._events[-1][1].synchronize()
        for start, end, at in self._events:
            self.seconds.append(start.elapsed_time(end) / 1000)
            self._at.append(at)
        self._events.clear()
