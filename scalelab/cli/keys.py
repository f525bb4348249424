"""Print the keys of a run and of a study, with defaults, allowed values and meanings."""

from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.completion import complete_key
from scalelab.cli.options import Json
from scalelab.cli.output import console, grid, show_json

__all__ = ["EXAMPLE", "main"]

EXAMPLE = "Example: scalelab keys loss."

_TITLES = {
    "run": "keys of a run (in a profile, and with --set)",
    "study": "keys of a study (in study.toml)",
}


def main(
    prefix: Annotated[
        str,
        typer.Argument(
            help="Only keys that begin so, such as data. or epochs", autocompletion=complete_key
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """List the keys of a run and of a study: what each means, its default, what is allowed."""
    found = api.keys(prefix)
    if as_json:
        show_json(found)
        return
    for place, title in _TITLES.items():
        rows = [
            (key.key, key.meaning, key.allowed, key.default, ", ".join(key.parts))
            for key in found
            if key.place == place
        ]
        if rows:
            columns = ("key", "meaning", "allowed", "default", "only for")
            if not any(row[-1] for row in rows):
                columns, rows = columns[:-1], [row[:-1] for row in rows]
            console().print(grid(columns, rows, title=title))
