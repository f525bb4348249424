"""Offer the verbs of scalelab as functions: they return values and print nothing."""
# pyarrow has no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownParameterType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.any_model.verbs import account, estimate, estimate_file
from scalelab.api_advise import advise
from scalelab.api_data import data
from scalelab.api_outputs import (
    bibtex,
    compare,
    methods,
    table,
    table_format,
    unmatched,
    write_rows,
)
from scalelab.api_plan import headroom_of, plan, plan_sentence, ranked
from scalelab.api_recommend import recommend
from scalelab.core.arguments import Settings, make_folder, overrides_of, write_text
from scalelab.core.errors import SpecError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

    from scalelab.core.events import GpuMeter, Progress, SweepObserver
    from scalelab.core.keys import Key
    from scalelab.core.parts import Part
    from scalelab.core.study import StudySpec
    from scalelab.diagnostics import Check
    from scalelab.findings.result import Answer
    from scalelab.sweeping.result import SweepResult
    from scalelab.templates import Written

__all__ = [
    "account",
    "advise",
    "answer",
    "baselines",
    "bibtex",
    "calibrate",
    "compare",
    "data",
    "doctor",
    "estimate",
    "estimate_file",
    "gpu_meters",
    "headroom_of",
    "keys",
    "list_parts",
    "methods",
    "new",
    "plan",
    "plan_sentence",
    "profile",
    "query",
    "ranked",
    "recommend",
    "report",
    "results",
    "schema",
    "sweep",
    "table",
    "table_format",
    "unmatched",
    "write_rows",
]


def query(ledger: str | Path, sql: str) -> pa.Table:
    """Rows of one reading statement. Raises LedgerError."""
    from scalelab.store.ledger import Ledger

    return Ledger(Path(ledger)).query(sql)


def list_parts(kind: str | None = None, name: str | None = None) -> dict[str, tuple[Part, ...]]:
    """What can be named, by kind; of one kind if given, or one part of it. Raises SpecError."""
    from scalelab.core.parts import list_kinds

    return list_kinds(kind, name)


def new(kind: str, name: str, folder: str | Path = ".") -> Written:
    """Write a loss, model or chart called `name` and its test. Raises SpecError."""
    from scalelab.templates import write_part

    return write_part(kind, name, Path(folder))


def keys(prefix: str = "") -> tuple[Key, ...]:
    """The keys of a run and a study that begin with `prefix`: meaning, default, allowed values."""
    from scalelab.core.keys import list_keys

    return list_keys(prefix)


def schema(of: str = "study", out: str | Path | None = None) -> dict[str, Any]:
    """The JSON schema of a `run` profile or a `study`, for editors; written to `out` if given.

    Raises SpecError.
    """
    from scalelab.core.json_schema import run_schema, study_schema

    makers = {"run": run_schema, "study": study_schema}
    if of not in makers:
        raise SpecError(f"no schema of {of!r}", nearest(of, makers))
    found = makers[of]()
    if out is not None:
        write_text(Path(out), json.dumps(found, indent=2) + "\n")
    return found


def gpu_meters() -> tuple[GpuMeter, ...]:
    """What the driver says of each GPU of this machine now; none where it does not answer."""
    from scalelab.measure.probes.nvml import Nvml

    return Nvml.meters()


def doctor() -> list[Check]:
    """What of this machine works, what does not, and the command that fixes it."""
    from scalelab.diagnostics import run_checks

    return run_checks()


def profile(
    run: str | Path,
    *,
    set: Settings = None,
    out: str | Path | None = None,
    steps: int = 0,
    save_model: str | Path | None = None,
    device: str | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> dict[str, Any]:
    """One run in this process with everything recorded. Raises SpecError and DataError.

    Returns `outcome`, `spec`, `metrics`, `memory`, `time` and `files` (written under `out` and
    `save_model`). With `steps` training stops after so many, the largest of the epoch among them;
    0 trains to the end. `report` is called with the progress of the run.
    """
    from scalelab.core.profile_document import profile_document
    from scalelab.core.spec import RunSpec

    spec = RunSpec.load(run, overrides_of(set, device))
    folder, model_folder = make_folder(out), make_folder(save_model)
    from scalelab.measure.profiling import profiled  # only now: bad input must not wait for torch

    record, files = profiled(spec, out=folder, save_model=model_folder, steps=steps, report=report)
    return profile_document(record, files)


def report(
    ledger: str | Path,
    *,
    out: str | Path | None = None,
    charts: Sequence[str | dict[str, Any]] | None = None,
    format: str | None = None,
    set: Settings = None,
) -> list[Path]:
    """Write one page of a study's charts and tables, or single charts. Returns the files.

    Single charts where `charts` names some or `format` is not html; None takes the format that the
    name of `out` says, else html. A chart is a name, or `{"name": "pareto", "width": 300}`; `set`
    holds options of every chart that is named. Raises SpecError, LedgerError.
    """
    from scalelab.reporting import page
    from scalelab.store.ledger import Ledger

    target = Path(out) if out is not None else None
    options = overrides_of(set)
    if options and not charts:
        raise SpecError("options of a chart without a chart", "add --chart, such as --chart pareto")
    return page.report(
        Ledger(ledger), target, charts=charts or None, format=format, options=options
    )


def answer(
    ledger: str | Path, *, budget: str | int | None = None, study: str | Path | None = None
) -> Answer:
    """Which configuration to take, in words and numbers, how sure that is, and what to run next.

    `budget` is memory that training and evaluation may take (None: that of the study), `study` a
    name or path: only its runs count. Raises SpecError, LedgerError.
    """
    from scalelab.core.units import parse_bytes
    from scalelab.findings.sentences import answer as answer_of
    from scalelab.store.ledger import Ledger

    budget_bytes = parse_bytes(budget) if budget is not None else None
    return answer_of(Ledger(ledger), budget_bytes, None if study is None else str(study))


def calibrate(out: str | Path | None = None) -> Path:
    """Measure this machine and write its device profile. Returns the file."""
    from scalelab.planning.calibrate import calibrate

    return calibrate(Path(out) if out is not None else None)


def sweep(
    study: str | Path | Mapping[str, Any] | StudySpec,
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
    """Plan, run and store every configuration of a study, by name, path, or as a dict of the keys
    of a study.toml (its `name`, else "study", names the ledger). Raises ScalelabError.
    """
    from scalelab.core.study import StudySpec
    from scalelab.core.units import parse_bytes, parse_seconds

    if isinstance(study, Mapping):
        spec = StudySpec.from_sections({"name": "study"} | dict(study), Path("study.toml"), "study")
    else:
        spec = study if isinstance(study, StudySpec) else StudySpec.load(study)
    overrides = overrides_of(set)
    budget_bytes = parse_bytes(budget) if budget is not None else None
    time_budget_s = parse_seconds(time_budget) if time_budget is not None else None
    from scalelab.sweeping import runner  # only now: bad input must not wait for torch

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


def results(ledger: str | Path, fingerprints: Sequence[str]) -> list[dict[str, Any]]:
    """The last attempt of each fingerprint in the ledger: outcome, quality, peak, time, note."""
    from scalelab.findings.verdicts import with_notes
    from scalelab.store.latest import latest
    from scalelab.store.ledger import Ledger

    return with_notes(Ledger(ledger), latest(Ledger(ledger), fingerprints))


def baselines(ledger: str | Path) -> list[dict[str, Any]]:
    """NDCG@10 of rankings that need no training, for each data set and protocol of the ledger."""
    from scalelab.findings.verdicts import baseline_rows
    from scalelab.store.ledger import Ledger

    return baseline_rows(Ledger(ledger))
