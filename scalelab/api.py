"""Offer the verbs of scalelab as functions: they return values and print nothing."""
# pyarrow has no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownParameterType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.any_model.verbs import account, estimate, estimate_file
from scalelab.api_advise import advise
from scalelab.api_data import data
from scalelab.api_outputs import (
    bibtex,
    chart,
    compare,
    contradictions,
    methods,
    published_data,
    table,
    table_format,
    unmatched,
    write_rows,
)
from scalelab.api_plan import headroom_of, plan, plan_sentence, ranked
from scalelab.api_recommend import recommend
from scalelab.api_run import profile, sweep
from scalelab.core.arguments import Settings, overrides_of, write_text
from scalelab.core.errors import SpecError, nearest

if TYPE_CHECKING:
    from scalelab.core.events import GpuMeter
    from scalelab.findings.result import Answer
    from scalelab.notebook.lists import Checks, Keys, Parts
    from scalelab.notebook.rows import Rows
    from scalelab.reporting.written import WrittenFiles
    from scalelab.templates import Written

__all__ = [
    "account",
    "advise",
    "answer",
    "baselines",
    "bibtex",
    "calibrate",
    "chart",
    "compare",
    "contradictions",
    "data",
    "data_notes",
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
    "published_data",
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
    "watch_report",
    "write_rows",
]


def query(ledger: str | Path, sql: str = "") -> Rows:
    """Rows of one reading statement: an Arrow table with `to_pandas()` and `to_polars()`.

    Without a statement: the views and tables, with their columns. Raises LedgerError.
    """
    from scalelab.notebook.rows import Rows
    from scalelab.store.contents import contents
    from scalelab.store.ledger import Ledger

    opened = Ledger(Path(ledger))
    return Rows(opened.query(sql) if sql.strip() else contents(opened))


def list_parts(kind: str | None = None, name: str | None = None) -> Parts:
    """What can be named, by kind; of one kind if given, or one part of it. Raises SpecError."""
    from scalelab.core.parts import list_kinds
    from scalelab.notebook.lists import Parts

    return Parts(list_kinds(kind, name))


def new(kind: str, name: str, folder: str | Path = ".") -> Written:
    """Write a loss, model or chart called `name` and its test. Raises SpecError."""
    from scalelab.templates import write_part

    return write_part(kind, name, Path(folder))


def keys(prefix: str = "") -> Keys:
    """The keys of a run and a study that begin with `prefix`, or whose last part does: meaning,
    default, allowed values. Raises SpecError where there are none.
    """
    from scalelab.core.keys import find_keys
    from scalelab.notebook.lists import Keys

    return Keys(find_keys(prefix))


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


def doctor() -> Checks:
    """What of this machine works, what does not, and the command that fixes it."""
    from scalelab.diagnostics import run_checks
    from scalelab.notebook.lists import Checks

    return Checks(run_checks())


def report(
    ledger: str | Path,
    *,
    out: str | Path | None = None,
    charts: Sequence[str | dict[str, Any]] | None = None,
    format: str | None = None,
    metric: str | None = None,
    set: Settings = None,
    refresh_s: float | None = None,
) -> WrittenFiles:
    """Write one page of a study's charts and tables, or single charts. Returns the files, which a
    notebook shows.

    Single charts where `charts` names some or `format` is not html; None takes the format that the
    name of `out` says, else html. A chart is a name, or `{"name": "pareto", "width": 300}`; `set`
    holds options of every chart that is named. `metric`, such as hr@10, is what charts of quality
    show. With `refresh_s` a browser loads the page again so often. Raises SpecError, LedgerError.
    """
    from scalelab.reporting import page
    from scalelab.store.ledger import Ledger

    target = Path(out) if out is not None else None
    options = overrides_of(set)
    if options and not charts:
        raise SpecError("options of a chart without a chart", "add --chart, such as --chart pareto")
    return page.report(
        Ledger(ledger),
        target,
        charts=charts or None,
        format=format,
        options=options,
        metric=metric,
        refresh_s=refresh_s,
    )


def watch_report(
    ledger: str | Path,
    *,
    out: str | Path | None = None,
    metric: str | None = None,
    every_s: float = 10.0,
) -> Iterator[Path]:
    """Write the page every so many seconds while a sweep writes the ledger, then once more.

    Yields the file each time; until the end a browser loads it again as often. Raises SpecError,
    LedgerError.
    """
    from scalelab.reporting.watching import pages_while_sweeping
    from scalelab.store.ledger import Ledger

    if not 1 <= every_s <= 86_400:  # nan is not either
        message = f"--every must be 1 to 86400 seconds, got {every_s:g}"
        raise SpecError(message, "write --every 10")
    target = Path(out) if out is not None else None
    return pages_while_sweeping(Ledger(ledger), target, every_s=every_s, metric=metric)


def answer(
    ledger: str | Path,
    *,
    budget: str | int | None = None,
    study: str | Path | None = None,
) -> Answer:
    """Which configuration to take, in words and numbers, how sure that is, and what to run next.

    `budget` is memory that training and evaluation may take (None: that of the study), `study` a
    name or path: only its runs count, and those that it took from another study of the ledger.
    Raises SpecError, LedgerError.
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


def results(ledger: str | Path, fingerprints: Sequence[str]) -> list[dict[str, Any]]:
    """The last attempt of each fingerprint in the ledger: outcome, quality, peak, time, note."""
    from scalelab.findings.verdicts import with_notes
    from scalelab.store.latest import latest
    from scalelab.store.ledger import Ledger

    return with_notes(Ledger(ledger), latest(Ledger(ledger), fingerprints))


def data_notes(ledger: str | Path, only: Collection[tuple[str, str]] | None = None) -> list[str]:
    """What limits every score on the test targets of a ledger: ties, repeated items. `only` are
    pairs of data fingerprint and protocol.
    """
    from scalelab.findings.data_notes import data_notes as notes
    from scalelab.store.ledger import Ledger

    return notes(Ledger(ledger), only)


def baselines(ledger: str | Path) -> list[dict[str, Any]]:
    """Rankings that need no training, for each data set and protocol of the ledger: by NDCG@10, and
    by each metric that chose between its runs.
    """
    from scalelab.findings.verdicts import baseline_rows
    from scalelab.store.ledger import Ledger

    return baseline_rows(Ledger(ledger))
