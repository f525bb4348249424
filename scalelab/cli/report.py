"""A ledger in, a page or single charts out."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.options import Json, Out
from scalelab.cli.output import note, show_json

__all__ = ["EXAMPLE", "Format", "main"]

EXAMPLE = "Example: scalelab report quickstart.duckdb --chart pareto --format png"


class Format(StrEnum):
    """How single charts are written."""

    HTML = "html"
    PNG = "png"
    SVG = "svg"
    PDF = "pdf"
    JSON = "json"


def main(
    ledger: Annotated[Path, typer.Argument(help="A ledger, such as quickstart.duckdb.")],
    out: Out = None,
    chart: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this chart; may be repeated.")
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format", help="How single charts are written; else as --out is called, or html."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Draw a study on one self-contained page that needs no network."""
    files = api.report(ledger, out=out, charts=chart, format=form.value if form else None)
    if as_json:
        show_json({"files": files})
        return
    for file in files:
        note(f"wrote {file}")
