"""Write a ledger as one HTML page, or as single charts."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.completion import complete_chart
from scalelab.cli.options import Json, Out
from scalelab.cli.output import note, show_json
from scalelab.core.errors import SpecError

__all__ = ["EXAMPLE", "OutputFormat", "main"]

EXAMPLE = "Example: scalelab report quickstart.duckdb --chart pareto --format png"
# Seconds between two pages of --watch.
_EVERY_S = 10.0


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
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME@K",
            help="What charts of quality show, such as hr@10. Default: evaluate.metric of the "
            "study that was swept last.",
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Write the page again while a sweep runs; an open browser shows it. Ends with the "
            "sweep (exit code 0), or with Ctrl-C (130).",
        ),
    ] = False,
    every: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Seconds between two pages of --watch. Default: 10."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="OPTION=VALUE",
            help="Set an option of the charts: those that scalelab list charts shows, and "
            "title=..., font_size=8, inches=3.3 (the width on paper, no letter below 7 points). "
            "May be repeated.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the results as one self-contained HTML page that needs no network."""
    chosen = format.value if format else None
    if watch:
        if chart or settings or chosen not in (None, "html"):
            message = "--watch writes the whole page, not a chart"
            raise SpecError(message, "leave out --chart, --set and --format")
        files = _watch(ledger, out, metric, _EVERY_S if every is None else every)
    else:
        if every is not None:
            raise SpecError("--every is for --watch", "add --watch, or leave out --every")
        files = api.report(
            ledger, out=out, charts=chart, format=chosen, metric=metric, set=settings
        )
    if as_json:
        show_json({"files": files})
        return
    for file in files:
        note(f"wrote {file}")


def _watch(ledger: Path, out: Path | None, metric: str | None, every_s: float) -> list[Path]:
    """The last page. A line says once that it is written again."""
    files: list[Path] = []
    for file in api.watch_report(ledger, out=out, metric=metric, every_s=every_s):
        if not files:
            note(f"wrote {file}; again every {every_s:g} s while a sweep writes {ledger}")
        files = [file]
    return files
