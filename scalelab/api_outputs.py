"""Offer the verbs that write results for others: tables, methods, sources, comparisons, rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import altair as alt
    import pyarrow as pa

    from scalelab.notebook.rows import Rows
    from scalelab.result_tables.methods import Methods
    from scalelab.result_tables.result_table import ResultTable

__all__ = [
    "bibtex",
    "chart",
    "compare",
    "contradictions",
    "methods",
    "published_data",
    "table",
    "table_format",
    "unmatched",
    "write_rows",
]


def table(
    ledger: str | Path,
    *,
    rows: Sequence[str] = ("loss",),
    columns: Sequence[str] = ("dataset",),
    metrics: Sequence[str] | None = None,
    study: str | None = None,
) -> ResultTable:
    """Test results of the best configuration on validation, for each row and column.

    Rows and columns are columns of the view `configurations` or keys such as batch.size. `metrics`
    None shows the metric that chose the configurations, NDCG@10 and HR@10. Only what compares is
    ranked: one data set, protocol, device and results version at a time. Raises SpecError,
    LedgerError.
    """
    from scalelab.result_tables.result_table import make_table
    from scalelab.store.ledger import Ledger

    wanted = None if metrics is None else list(metrics)
    return make_table(
        Ledger(ledger), rows=list(rows), columns=list(columns), metrics=wanted, study=study
    )


def chart(ledger: str | Path, name: str = "pareto", **options: Any) -> alt.Chart:
    """One chart of a ledger as an Altair chart, to show, change or save.

    `options` are those of the chart, such as `metric="hr@10"`, and those of every chart: `title`,
    `font_size` and `inches`, its width on paper. `scalelab.list("charts")` has names and options.
    Raises SpecError, LedgerError.
    """
    from scalelab.reporting.page import draw
    from scalelab.store.ledger import Ledger

    return draw(Ledger(ledger), name, **options)


def methods(ledger: str | Path, study: str | None = None) -> Methods:
    """The paragraph of methods of a ledger's finished runs, and its sources. Raises SpecError."""
    from scalelab.result_tables.methods import methods_of
    from scalelab.store.ledger import Ledger

    return methods_of(Ledger(ledger), study)


def bibtex(ledger: str | Path, study: str | None = None) -> str:
    """BibTeX of the losses and models of a ledger's finished runs. Raises SpecError."""
    from scalelab.result_tables.documents import bibtex

    return bibtex(methods(ledger, study))


def table_format(option: str | None, out: Path | None) -> str:
    """The format of a table that the option or the file's name says. Raises SpecError."""
    from scalelab.result_tables.documents import table_format

    return table_format(option, out)


def compare(ledger: str | Path, published: str | Path | None = None) -> Rows:
    """Published figures and ours side by side: mean and spread over seeds, ratio.

    `published` None takes the file that the study names, else the one that travels with scalelab:
    results of the papers, each with its source. Raises DataError for a table that cannot
    be read, LedgerError.
    """
    from scalelab.notebook.rows import Rows
    from scalelab.result_tables.compare import compare as join
    from scalelab.result_tables.published import published_of
    from scalelab.store.ledger import Ledger

    file = published_of(Ledger(ledger)) if published is None else Path(published)
    return Rows(join(Ledger(ledger), file))


def contradictions(ledger: str | Path, published: str | Path | None = None) -> list[str]:
    """What is impossible among the published figures of the data sets, models and losses that
    `compare` shows, one sentence each. Raises DataError, LedgerError.
    """
    from scalelab.result_tables.published import contradictions, published_of, read_published
    from scalelab.store.ledger import Ledger

    file = published_of(Ledger(ledger)) if published is None else Path(published)
    names = ("dataset", "model", "loss")
    shown = {tuple(row[name] for name in names) for row in compare(ledger, file).to_pylist()}
    lines = read_published(file)
    return list(contradictions(x for x in lines if tuple(x[name] for name in names) in shown))


def unmatched(ledger: str | Path, published: str | Path | None = None) -> list[str]:
    """The published figures that have no row in `compare`, with the reason; of scalelab's own table
    (`published` None) those on the data sets of the ledger. Raises DataError.
    """
    from scalelab.result_tables.compare import unmatched
    from scalelab.result_tables.published import published_of
    from scalelab.store.ledger import Ledger

    file = published_of(Ledger(ledger)) if published is None else Path(published)
    return unmatched(Ledger(ledger), file, own_data_only=published is None)


def published_data(ledger: str | Path, published: str | Path | None = None) -> list[str]:
    """The data sets of the published figures that `compare` takes. DataError, LedgerError."""
    from scalelab.result_tables.compare import published_data
    from scalelab.result_tables.published import published_of
    from scalelab.store.ledger import Ledger

    return published_data(published_of(Ledger(ledger)) if published is None else Path(published))


def write_rows(
    rows: Rows | pa.Table, format: str | None = None, out: str | Path | None = None
) -> str:
    """Rows as csv, json or parquet; returned as text, or written to `out` and "" returned.

    `format` None takes what the name of `out` says, else csv. Raises SpecError, LedgerError.
    """
    from scalelab.notebook.rows import Rows
    from scalelab.result_tables.rows import as_text, save

    table = rows.arrow if isinstance(rows, Rows) else rows
    if out is None:
        return as_text(table, format or "csv")
    save(table, format, Path(out))
    return ""
