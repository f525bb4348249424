"""Report what a training step held at its peak, by kind, phase and module."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scalelab.any_model.module_account import KINDS, ModuleEvent
from scalelab.any_model.tables import as_html, as_text

__all__ = ["StepMemory", "step_memory"]

Bytes = dict[str, int]
# Live bytes by kind and module.
Held = dict[tuple[str, str], int]


@dataclass(frozen=True, kw_only=True)
class StepMemory:
    """Live tensor bytes of a training step, as requested: neither rounded nor cached.

    `components` has the bytes of each kind at the instant of the peak; they add up to `peak_bytes`.
    `phases` has the same for the peak of each phase (forward, loss, backward, optimizer, outside),
    with a `total`; `modules` for each module by its path at the peak of the step ("": the model
    itself, and what no module made). `allocated_bytes` and `reserved_bytes` are those of CUDA's
    caching allocator, None on a CPU. Where the count is not `exact`, `reasons` say why.
    """

    device: str
    peak_bytes: int
    peak_phase: str
    components: Bytes
    phases: dict[str, Bytes]
    modules: dict[str, Bytes]
    allocated_bytes: int | None = None
    reserved_bytes: int | None = None
    reasons: tuple[str, ...] = ()
    timeline: tuple[ModuleEvent, ...] = field(default=(), repr=False)

    @property
    def exact(self) -> bool:
        """Nothing is known to be missing."""
        return not self.reasons

    def by_module(self, depth: int) -> dict[str, Bytes]:
        """`modules`, each counted to the module around it that is `depth` names deep."""
        found: dict[str, Bytes] = {}
        for path, kinds in self.modules.items():
            short = ".".join(path.split(".")[:depth])
            sums = found.setdefault(short, {})
            for kind, num_bytes in kinds.items():
                sums[kind] = sums.get(kind, 0) + num_bytes
        return found

    def as_dict(self) -> dict[str, Any]:
        """What JSON holds: everything but the timeline."""
        known = {"allocated": self.allocated_bytes, "reserved": self.reserved_bytes}
        return {
            "device": self.device,
            "memory": {
                "requested": {"total": self.peak_bytes, **self.components},
                **{kind: {"total": total} for kind, total in known.items() if total is not None},
            },
            "peak_phase": self.peak_phase,
            "phases": self.phases,
            "modules": self.modules,
            "exact": self.exact,
            "reasons": list(self.reasons),
        }

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)


def step_memory(
    events: Iterable[ModuleEvent],
    *,
    device: str,
    window: int = 0,
    allocated_bytes: int | None = None,
    reserved_bytes: int | None = None,
    reasons: Sequence[str] = (),
) -> StepMemory:
    """What the events of an account say of the step that begins with event `window`."""
    events = tuple(events)
    highest: dict[str, tuple[int, int]] = {}
    live = sum(event.num_bytes for event in events[:window])
    for index, event in enumerate(events[window:], window):
        live += event.num_bytes
        if live > highest.get(event.phase, (-1, 0))[0]:
            highest[event.phase] = live, index
    total, peak = max(highest.values(), default=(0, -1), key=lambda found: found[0])
    wanted = {index for _, index in highest.values()}
    held = _held_at(events, wanted)
    at_peak = held.get(peak, {})
    modules: dict[str, Bytes] = defaultdict(dict)
    for (kind, module), num_bytes in at_peak.items():
        modules[module][kind] = num_bytes
    return StepMemory(
        device=device,
        peak_bytes=total,
        peak_phase=next((p for p, (_, index) in highest.items() if index == peak), "outside"),
        components=_by_kind(at_peak),
        phases={
            phase: {"total": bytes_, **_by_kind(held[index])}
            for phase, (bytes_, index) in highest.items()
        },
        modules=dict(modules),
        allocated_bytes=allocated_bytes,
        reserved_bytes=reserved_bytes,
        reasons=tuple(reasons),
        timeline=events[window:],
    )


def _held_at(
    events: Sequence[ModuleEvent], wanted: set[int]
) -> dict[int, dict[tuple[str, str], int]]:
    """Live bytes by kind and module after each of the events `wanted`."""
    live: Held = defaultdict(int)
    found: dict[int, Held] = {}
    for index, event in enumerate(events):
        live[event.kind, event.module] += event.num_bytes
        if index in wanted:
            found[index] = {key: count for key, count in live.items() if count}
    return found


def _by_kind(held: Held) -> Bytes:
    sums: Bytes = dict.fromkeys(KINDS, 0)
    for (kind, _), num_bytes in held.items():
        sums[kind] += num_bytes
    return {kind: count for kind, count in sums.items() if count}
