"""List the parts (losses, models, ...) that a run can name."""

from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.output import console, grid, show_json

__all__ = ["EXAMPLE", "main"]

EXAMPLE = "Example: scalelab list losses"


def main(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="models, losses, packers, negatives, readers, probes, charts, executors, "
            "profiles, devices or studies. Default: all of them."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(help="One part alone: a name, package.module:Class or ./file.py:Class."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the parts that a run can name, with their options, defaults and sources."""
    found = api.list_parts(kind, name)
    if as_json:
        show_json(found)
        return
    screen = console()
    for each, parts in found.items():
        rows = []
        for part in parts:
            options = [f"{option.name} = {option.default}" for option in part.options]
            rows.append((part.name, part.summary, "\n".join(options), part.source or part.origin))
        screen.print(grid(("name", "description", "options", "source"), rows, title=each))
