"""Make the table of a ledger's test results: one configuration per row and column."""
# pyarrow has no type stubs.
# pyright: reportMissingTypeStubs=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from scalelab.core.errors import SpecError
from scalelab.findings.data_notes import data_notes
from scalelab.findings.metrics import metrics_of
from scalelab.findings.verdicts import baselines_of
from scalelab.result_tables.candidates import (
    COSTS,
    Figure,
    candidates,
    check_metrics,
)
from scalelab.result_tables.frames import as_pandas, as_polars
from scalelab.result_tables.grouping import DATASET, Grouped, group
from scalelab.result_tables.marks import RANKED, marks_of
from scalelab.result_tables.notes import notes_of
from scalelab.result_tables.significance import Significance, significance_of
from scalelab.store.ledger import Ledger

__all__ = ["Entry", "Line", "ResultTable", "make_table"]

# What shows in a file which results compare.
_PLACE = ("dataset", "num_items", "protocol", "device")
# What a table shows beside the metrics that chose.
_USUAL = ("ndcg@10", "hr@10")
_SCHEMA_END = (
    ("metric", pa.string()),
    ("mean", pa.float64()),
    ("std", pa.float64()),
    ("seeds", pa.int64()),
    ("mark", pa.string()),
    ("p_value", pa.float64()),
    ("differs", pa.bool_()),
    ("quality_metric", pa.string()),
    ("settings", pa.string()),
    ("configuration", pa.string()),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One figure of the table; None where there is none. `mark` is best, second or "".

    `differs` from the first on validation of its data by more than chance.
    """

    figure: Figure | None
    mark: str
    differs: bool = False


@dataclass(frozen=True, kw_only=True)
class Line:
    """A row: what names it, and its entries, metric by metric in each column in turn."""

    heads: tuple[str, ...]
    entries: tuple[Entry, ...]
    is_baseline: bool = False


@dataclass(frozen=True, kw_only=True)
class ResultTable:
    """Results of a ledger. `columns` are the texts of each group of columns, `metrics` what stands
    in each group: test metrics, then peak_bytes and train_s.
    """

    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    metrics: tuple[str, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    figures: pa.Table

    def to_markdown(self) -> str:
        """A markdown table, and its notes as a list."""
        return self.document("markdown")

    def to_latex(self) -> str:
        """A `table` environment with booktabs rules; names are escaped."""
        return self.document("latex")

    def to_html(self) -> str:
        """A <table>, and its notes as a list."""
        return self.document("html")

    def to_csv(self) -> str:
        """The raw figures, one per line."""
        return self.document("csv")

    def to_pandas(self) -> Any:
        """The raw figures as a pandas DataFrame, one per row. Raises MissingExtra."""
        return as_pandas(self.figures)

    def to_polars(self) -> Any:
        """The raw figures as a polars DataFrame, one per row. Raises MissingExtra."""
        return as_polars(self.figures)

    def document(self, format: str) -> str:
        """The table as markdown, latex, html or csv. Raises SpecError."""
        from scalelab.result_tables.documents import as_document

        return as_document(self, format)

    _repr_html_ = to_html


def make_table(
    ledger: Ledger,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    metrics: Sequence[str] | None,
    study: str | None = None,
) -> ResultTable:
    """The test results of the configuration that is the best on validation, in each row and column.

    `metrics` None takes those that chose, then NDCG@10 and HR@10. Marks rank only what compares:
    one data set, protocol, device, results version and metric that chose at a time. Raises
    SpecError for names that the ledger does not have, LedgerError.
    """
    if not rows or (metrics is not None and not metrics):
        raise SpecError("a table needs rows and metrics", "add --rows loss --metrics ndcg@10")
    twice = [name for name in rows if name in columns or rows.count(name) > 1]
    if twice:
        raise SpecError(f"{twice[0]!r} is named twice among rows and columns", "name it once")
    with ledger.reading():
        if metrics is None:
            metrics = list(dict.fromkeys((*metrics_of(ledger), *_USUAL)))
        checked = check_metrics(ledger, metrics)
        found = candidates(ledger, checked, study=study, hidden=(*rows, *columns))
    if not found:
        raise SpecError("no run has finished", "sweep first, or name another --study")
    grouped = group(found, rows, columns)
    shown = (*checked, *COSTS)
    baselines = _baselines(ledger, grouped, checked, in_rows=DATASET in rows)
    marks = _marks(grouped, baselines, checked)
    significance = significance_of(ledger, grouped, checked)
    lines = [
        Line(
            heads=heads,
            entries=tuple(
                Entry(
                    figure=None
                    if (one := grouped.chosen.get((row, column))) is None
                    else one.figures.get(metric),
                    mark=marks.get((row, column, metric), ""),
                    differs=(row, column, metric) in significance.differs,
                )
                for column in grouped.columns
                for metric in shown
            ),
        )
        for row, heads in grouped.rows.items()
    ]
    lines += [
        Line(
            heads=(f"{name} (baseline)", *[""] * (len(rows) - 1)),
            entries=tuple(
                Entry(
                    figure=figures.get((column, metric)),
                    mark=marks.get((name, column, metric), ""),
                )
                for column in grouped.columns
                for metric in shown
            ),
            is_baseline=True,
        )
        for name, figures in baselines.items()
    ]
    return ResultTable(
        row_names=tuple(rows),
        column_names=tuple(columns),
        columns=tuple(grouped.columns.values()),
        metrics=shown,
        lines=tuple(lines),
        notes=(
            *notes_of(grouped, significance, has_baselines=bool(baselines)),
            *data_notes(
                ledger,
                {
                    (o.columns["data_fingerprint"], o.columns["protocol"])
                    for o in grouped.chosen.values()
                },
            ),
        ),
        figures=_tidy(
            grouped,
            rows=rows,
            columns=columns,
            metrics=shown,
            marks=marks,
            significance=significance,
        ),
    )


_Baselines = dict[str, dict[tuple[Any, str], Figure]]


def _baselines(
    ledger: Ledger, grouped: Grouped, metrics: Sequence[str], *, in_rows: bool
) -> _Baselines:
    """By name, rankings without training in each column that is all of one data set."""
    if in_rows:
        return {}
    found: _Baselines = {}
    for metric in metrics:
        known = baselines_of(ledger, metric)
        for column in grouped.columns:
            places = {one.place for (_, other), one in grouped.chosen.items() if other == column}
            data = {place[:2] for place in places}
            for baseline in known.get(next(iter(data)), []) if len(data) == 1 else []:
                if baseline.test is not None:
                    figure = Figure(mean=baseline.test, std=None, seeds=0)
                    found.setdefault(baseline.words, {})[column, metric] = figure
    return found


def _marks(
    grouped: Grouped, baselines: _Baselines, metrics: Sequence[str]
) -> dict[tuple[Any, Any, str], str]:
    """By row (or name of a baseline), column and metric."""
    marks: dict[tuple[Any, Any, str], str] = {}
    for metric in (one for one in metrics if one.partition("@")[0] in RANKED):
        for place in grouped.places:
            where = {
                (row, column, metric): one.figures[metric].mean
                for (row, column), one in grouped.chosen.items()
                if one.place == place and metric in one.figures
            }
            # A baseline stands in each column of its data; there, it takes part.
            columns = {column for _, column, _ in where}
            where |= {
                (name, column, metric): figure.mean
                for name, figures in baselines.items()
                for (column, known), figure in figures.items()
                if known == metric and column in columns
            }
            marks |= marks_of(where)
    return marks


def _tidy(
    grouped: Grouped,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    metrics: Sequence[str],
    marks: dict[tuple[Any, Any, str], str],
    significance: Significance,
) -> pa.Table:
    """One row a figure of a model, raw, for files."""
    names = [*_PLACE, *(name for name in (*rows, *columns) if name not in _PLACE)]
    lines = [
        {
            **{name: _cell(one.value(name)) for name in names},
            "metric": metric,
            "mean": figure.mean,
            "std": figure.std,
            "seeds": figure.seeds,
            "mark": marks.get((row, column, metric), ""),
            "p_value": significance.p_values.get((row, column, metric)),
            "differs": (row, column, metric) in significance.differs
            if (row, column, metric) in significance.p_values
            else None,
            "quality_metric": one.columns["quality_metric"],
            "settings": one.label,
            "configuration": one.key[0],
        }
        for row in grouped.rows
        for column in grouped.columns
        if (one := grouped.chosen.get((row, column))) is not None
        for metric in metrics
        if (figure := one.figures.get(metric)) is not None
    ]
    schema = pa.schema([*((name, pa.string()) for name in names), *_SCHEMA_END])
    return pa.Table.from_pylist(lines, schema)


def _cell(value: Any) -> str | None:
    return None if value is None else str(value)
