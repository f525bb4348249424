"""Write a ledger as one HTML page, or as single charts."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.completion import complete_chart
from scalelab.cli.options import Json, Out
from scalelab.cli.output import note, show_json

__all__ = ["EXAMPLE", "OutputFormat", "main"]

EXAMPLE = "Example: scalelab report quickstart.duckdb --chart pareto --format png"


class OutputFormat(StrEnum):
    """The format of a page or chart."""

    HTML = "html"
    PNG = "png"
    SVG = "svg"
    PDF = "pdf"
    JSON = "json"


def main(
    ledger: Annotated[Path, typer.Argument(help="A ledger, such as quickstart.duckdb.")],
    out: Out = None,
    chart: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Write only this chart. May be repeated.",
            autocompletion=complete_chart,
        ),
    ] = None,
    format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="The format. Default: the ending of --out, else html."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="OPTION=VALUE",
            help="Set an option of the charts, such as width=300, font_size=8 or title=... "
            "(see: scalelab list charts). May be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the results as one self-contained HTML page that needs no network."""
    chosen = format.value if format else None
    files = api.report(ledger, out=out, charts=chart, format=chosen, set=settings)
    if as_json:
        show_json({"files": files})
        return
    for file in files:
        note(f"wrote {file}")
