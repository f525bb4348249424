"""Print a table of results for a paper, the paragraph of methods, or BibTeX."""

from pathlib import Path
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.options import Json
from scalelab.cli.output import note, show_json, show_rows
from scalelab.core.arguments import write_text
from scalelab.core.errors import SpecError

__all__ = ["EXAMPLE", "main"]

EXAMPLE = (
    "Example: scalelab table beauty-losses.duckdb --rows loss --metrics ndcg@10,hr@10 "
    "--out results.tex"
)


def main(
    ledger: Annotated[Path, typer.Argument(help="A ledger, such as quickstart.duckdb.")],
    rows: Annotated[
        str,
        typer.Option(help="What makes a row: settings, joined by commas, as loss or model,loss."),
    ] = "loss",
    columns: Annotated[str, typer.Option(help="What makes a group of columns.")] = "dataset",
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Test metrics, joined by commas. Default: that which chose, ndcg@10 and hr@10."
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="markdown, latex, html or csv. Default: the ending of --out, else markdown.",
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="Only the runs of this study.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write.")] = None,
    methods: Annotated[
        bool, typer.Option("--methods", help="Write the paragraph of methods instead.")
    ] = False,
    bibtex: Annotated[
        bool, typer.Option("--bibtex", help="Write BibTeX of the losses and models instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a table for a paper: mean and spread over seeds, the best marked, memory, time."""
    if methods and bibtex:
        raise SpecError("--methods and --bibtex are two documents", "ask for one at a time")
    if bibtex:
        text, facts = (found := api.bibtex(ledger, study)), {"bibtex": found}
    elif methods:
        paragraph = api.methods(ledger, study)
        format = api.table_format(format, out)
        if format == "csv":
            raise SpecError("a paragraph cannot be csv", "use --format markdown, latex or html")
        text, facts = paragraph.as_format(format), {"methods": paragraph.as_format("markdown")}
    else:
        format = api.table_format(format, out)
        made = api.table(
            ledger,
            rows=_names(rows),
            columns=_names(columns),
            metrics=None if metrics is None else _names(metrics),
            study=study,
        )
        text = made.document(format)
        facts = {"figures": made.figures.to_pylist(), "notes": made.notes}
    if out is not None:
        write_text(out, text)
        note(f"wrote {out}")
    if as_json:
        show_json(facts)
    elif out is None:
        show_rows(text, as_json=False)


def _names(joined: str) -> list[str]:
    return [name.strip() for name in joined.split(",") if name.strip()]
