"""Offer the verbs that run and measure: `profile` and `sweep`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from scalelab.core.arguments import Settings, make_folder, overrides_of
from scalelab.notebook.progress import SweepBar, in_notebook, profile_bar

if TYPE_CHECKING:
    from scalelab.core.events import Progress, SweepObserver
    from scalelab.core.given import GivenRun, GivenStudy
    from scalelab.notebook.documents import Profile
    from scalelab.sweeping.result import SweepResult

__all__ = ["profile", "sweep"]


def profile(
    run: GivenRun,
    *,
    set: Settings = None,
    out: str | Path | None = None,
    steps: int = 0,
    save_model: str | Path | None = None,
    ledger: str | Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] | None = None,
) -> Profile:
    """One run in this process with everything recorded. Raises SpecError, DataError, LedgerError.

    `run` is a profile's name or path, a dict of its sections or keys, or a RunSpec. Returns
    `outcome`, `spec`, `metrics`, `memory`, `time` and `files` (written under `out` and
    `save_model`), as keys and as attributes. With `steps` training stops after so many, the largest
    of the epoch among them; 0 trains to the end. The run is stored in `ledger`, with its timeline,
    if one is given. `report` is called with the progress of the run; None shows a bar in a
    notebook.
    """
    from scalelab.core.given import run_of
    from scalelab.core.profile_document import profile_document
    from scalelab.notebook.documents import Profile

    spec = run_of(run, overrides_of(set, device))
    folder, model_folder = make_folder(out), make_folder(save_model)
    if ledger is not None:
        from scalelab.store.ledger import Ledger

        stored = Ledger.create_or_open(ledger)  # before the run: it must not be lost
    from scalelab.measure.profiling import profiled  # only now: bad input must not wait for torch

    with ExitStack() as stack:
        if report is None:
            report = stack.enter_context(profile_bar()) if in_notebook() else _ignored
        record, files = profiled(
            spec, out=folder, save_model=model_folder, steps=steps, report=report
        )
    if ledger is not None:
        stored.append([record])
    return Profile(profile_document(record, files))


def sweep(
    study: GivenStudy,
    *,
    ledger: str | Path | None = None,
    set: Settings = None,
    executor: str = "processes",
    address: str | None = None,
    workers: int = 1,
    device: str | None = None,
    budget: str | int | None = None,
    time_budget: str | float | None = None,
    dry_run: bool = False,
    rerun: str | None = None,
    order: str = "cost",
    observer: SweepObserver | None = None,
) -> SweepResult:
    """Plan, run and store every configuration of a study, by name, path, as a StudySpec or as a
    dict of the keys of a study.toml (its `name`, else "study", names the ledger).

    `observer` is called at each event; None shows a bar in a notebook. Raises ScalelabError.
    """
    from scalelab.core.given import study_of
    from scalelab.core.units import parse_bytes, parse_seconds

    spec = study_of(study)
    overrides = overrides_of(set)
    budget_bytes = parse_bytes(budget) if budget is not None else None
    time_budget_s = parse_seconds(time_budget) if time_budget is not None else None
    from scalelab.sweeping import runner  # only now: bad input must not wait for torch

    with ExitStack() as stack:
        if observer is None and in_notebook():
            observer = stack.enter_context(closing(SweepBar()))
        return runner.sweep(
            spec,
            Path(ledger if ledger is not None else f"{spec.name}.duckdb"),
            overrides=overrides,
            executor=executor,
            address=address,
            workers=workers,
            device=device,
            budget=budget_bytes,
            time_budget=time_budget_s,
            dry_run=dry_run,
            rerun=rerun,
            order=order,
            observer=observer,
        )


def _ignored(progress: Progress) -> None:
    """Show nothing."""
