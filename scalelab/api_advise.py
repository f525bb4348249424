"""Offer the verb `advise`: plan what is sensible, write a study of it and run the study."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.core.arguments import Settings, overrides_of
from scalelab.core.errors import SpecError
from scalelab.notebook.progress import SweepBar, ignored, in_notebook, planning_bar

if TYPE_CHECKING:
    from scalelab.core.events import SweepObserver
    from scalelab.notebook.documents import Advice

__all__ = ["advise"]


def advise(
    data: str | Path | None = None,
    *,
    on: str | None = None,
    memory: str | int | None = None,
    items: str | int | None = None,
    users: str | int | None = None,
    hours: float | None = None,
    headroom: float = 0.1,
    base: str | Path | None = None,
    set: Settings = None,
    out: str | Path | None = None,
    run: bool = False,
    ledger: str | Path | None = None,
    workers: int = 1,
    observer: "SweepObserver | None" = None,
    report: Callable[[int, int, str], None] | None = None,
) -> "Advice":
    """Which losses, batches and numbers of negatives are worth a comparison, and a study of them.

    Plans for `data` (a file or a name), or for `items` and `users` without data, on the device
    profile `on` (None: this machine) with `memory` bytes for a run; what does not leave the share
    `headroom` free is left out. Writes a study that takes at most `hours`. With `run` it is swept
    too, into `ledger`; the same call resumes it, within the hours. Returns `configurations`,
    `study`, `sentence` and `next`, with `run` also `result`. Raises SpecError and DataError.
    """
    from scalelab.core.units import parse_bytes, parse_count
    from scalelab.notebook.documents import Advice, Plan, Planned
    from scalelab.studies.predictions import Scale

    if run and on is not None:
        message = f"--run trains on this machine, and --on {on} plans for another"
        raise SpecError(message, "leave out --on, or leave out --run and sweep the study there")
    if run and hours is None:
        raise SpecError("--run needs the hours that it may take", "write for example --hours 0.5")
    scale = Scale(
        num_items=None if items is None else parse_count(items),
        num_users=None if users is None else parse_count(users),
    )
    memory_bytes = None if memory is None else parse_bytes(memory)
    overrides = overrides_of(set)
    from scalelab.studies.advice import Request
    from scalelab.studies.advice import advise as choose

    request = Request(
        data=None if data is None else str(data),
        base=None if base is None else str(base),
        on=on,
        memory_bytes=memory_bytes,
        scale=scale,
        hours=hours,
        headroom=headroom,
        overrides=overrides,
        out=None if out is None else Path(out),
    )
    with ExitStack() as stack:
        if report is None:
            report = stack.enter_context(planning_bar()) if in_notebook() else ignored
        chosen = choose(request, report, resume=run)
    configurations = Plan(map(Planned, chosen["configurations"]))
    found = Advice(chosen | {"configurations": configurations})
    if not run:
        return found
    from scalelab.sweeping.within_hours import sweep_within

    assert hours is not None
    place = Path(found["study"]["ledger"]) if ledger is None else Path(ledger)
    with ExitStack() as stack:
        if observer is None and in_notebook():
            observer = stack.enter_context(closing(SweepBar()))
        result = sweep_within(
            found["study"]["file"], place, hours=hours, workers=workers, observer=observer
        )
    return Advice(found | {"result": result})
