"""Print which configuration of a ledger to take, how sure that is, and what to run next."""

from pathlib import Path
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.options import Budget, Json
from scalelab.cli.output import clean, console, note, say, show_json

__all__ = ["EXAMPLE", "main", "show_answer"]

EXAMPLE = "Example: scalelab answer quickstart.duckdb --budget 8GiB"


def main(
    ledger: Annotated[Path, typer.Argument(help="A ledger, such as quickstart.duckdb.")],
    budget: Budget = None,
    study: Annotated[
        str | None, typer.Option(help="Only the runs of this study, by its name or TOML file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which configuration to take under a budget, how sure that is, and what to run next."""
    found = api.answer(ledger, budget=budget, study=study)
    if as_json:
        show_json(found)
    else:
        show_answer(found.text)
        for text in api.data_notes(ledger):
            note(text)


def show_answer(text: str) -> None:
    """Print sentences wrapped between words, and each command on one line, to be copied."""
    for line in text.splitlines():
        if line.startswith("Next: "):
            say(line)
        else:
            console().print(clean(line))
