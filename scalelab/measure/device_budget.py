"""Hold a run to its memory budget: on its device, and by what was measured."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from scalelab.core.events import Stage
from scalelab.core.memory_kinds import limited_kind
from scalelab.core.records import Memory
from scalelab.measure.memory_errors import OverBudget

__all__ = ["must_fit", "on_device"]


def must_fit(rows: Sequence[Memory], memory_bytes: int | None, device: str) -> None:
    """Raises OverBudget where a stage took more than `memory_bytes` of the kind that counts."""
    kind = limited_kind(device)
    totals = {(row.kind, row.stage): row.bytes for row in rows if row.component == "total"}
    for stage, name in ((Stage.TRAIN, "training"), (Stage.EVAL, "evaluation")):
        taken = totals.get((kind, stage))
        if memory_bytes is not None and taken is not None and taken > memory_bytes:
            raise OverBudget(f"{name} takes {taken} bytes ({kind}), the budget is {memory_bytes}")


@contextmanager
def on_device(device: torch.device, memory_bytes: int | None) -> Iterator[None]:
    """The device is the current one; its allocator refuses what lies beyond the budget.

    Current, since streams, events and libraries that are given no device take that one: on another
    GPU they would time nothing and hold a second context.
    """
    if device.type != "cuda":
        yield
        return
    with torch.cuda.device(device):
        if memory_bytes is None:
            yield
            return
        whole = torch.cuda.get_device_properties(device).total_memory
        # Half a byte more: rounding must not refuse the last byte of the budget. Of the current
        # device: this function takes no "cuda" without a number.
        torch.cuda.set_per_process_memory_fraction(min(1.0, (memory_bytes + 0.5) / whole))
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
