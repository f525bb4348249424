"""Give a section of `confirm.py` its clock, its folders, and a place that keeps what it finds."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["MIB", "Call", "OutOfTime"]

MIB = 2**20
ROOT = Path(__file__).resolve().parents[2]


class OutOfTime(Exception):
    """The section has used up its seconds; what it has found so far is kept."""


@dataclass(kw_only=True)
class Call:
    """What one section may use. All that it notes is on disk at once, so that a kill loses nothing.

    `seconds` is what the section may take, `call_begun` when the whole call began (for the log).
    """

    name: str
    out: Path
    device: str
    seconds: float
    call_begun: float
    begun: float = field(default_factory=time.perf_counter)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_cuda(self) -> bool:
        """Whether this is the real call; on a CPU all sizes are tiny."""
        return self.device.startswith("cuda")

    @property
    def file(self) -> Path:
        """Where the facts of this section are kept while it runs."""
        return self.out / "parts" / f"{self.name}.json"

    @property
    def scratch(self) -> Path:
        """A folder for ledgers and studies, which nobody keeps in the repository."""
        folder = self.out / "scratch" / self.name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def left(self) -> float:
        """Seconds that this section still has."""
        return self.seconds - (time.perf_counter() - self.begun)

    def need(self, seconds: float) -> None:
        """Raises OutOfTime where fewer seconds are left."""
        if self.left() < seconds:
            raise OutOfTime(f"{self.left():.0f} s left, the next part needs {seconds:.0f}")

    def say(self, *words: object) -> None:
        """One line, on the screen and in log.txt."""
        at = time.perf_counter() - self.call_begun
        line = f"[{at:6.1f}s] {self.name}: " + " ".join(str(word) for word in words)
        print(line, flush=True)
        with (self.out / "log.txt").open("a", encoding="utf-8") as log:
            log.write(line + "\n")

    def note(self, **facts: Any) -> None:
        """Keep and print facts by name."""
        self.facts |= facts
        self._keep()
        for name, value in facts.items():
            self.say(f"{name} = {value}")

    def row(self, table: str, row: dict[str, Any]) -> None:
        """Keep and print one row of a table."""
        self.facts.setdefault(table, []).append(row)
        self._keep()
        self.say(", ".join(f"{name} {value}" for name, value in row.items() if value is not None))

    def check(self, what: str, passed: bool, found: object = "") -> None:
        """Keep and print whether something is as it must be, and what was found."""
        row = {"what": what, "passed": bool(passed), "found": str(found)[:300]}
        self.facts.setdefault("checks", []).append(row)
        self._keep()
        self.say("ok  " if passed else "FAIL", what, f"({found})" if found != "" else "")

    def timed(self, work: Callable[[], object], repeats: int = 10, warm: int = 2) -> float:
        """Median seconds of `work`, by CUDA events, by the clock on a CPU."""
        import torch

        for _ in range(warm):
            work()
        found: list[float] = []
        for _ in range(repeats):
            if not self.is_cuda:
                at = time.perf_counter()
                work()
                found.append(time.perf_counter() - at)
                continue
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            first.record()
            work()
            last.record()
            last.synchronize()
            found.append(first.elapsed_time(last) / 1e3)
        return statistics.median(found)

    def gpu_seconds(self, work: Callable[[], object], repeats: int = 5) -> float:
        """Seconds of the GPU's own work in `work`, by the profiler: launching does not count."""
        import torch

        work()
        activities = [torch.profiler.ProfilerActivity.CUDA]
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=activities, acc_events=True) as profiler:
            for _ in range(repeats):
                work()
            torch.cuda.synchronize()
        events = [
            event
            for event in profiler.events() or []
            if str(event.device_type).endswith("CUDA") and not event.is_user_annotation
        ]
        return sum(event.time_range.elapsed_us() for event in events) / 1e6 / repeats

    def sync(self) -> None:
        """Wait for the GPU, if there is one."""
        if self.is_cuda:
            import torch

            torch.cuda.synchronize()

    def _keep(self) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        # Written beside and renamed: a kill in the middle must not leave half a file.
        beside = self.file.with_suffix(".new")
        beside.write_text(json.dumps(self.facts, default=str), encoding="utf-8")
        beside.replace(self.file)
