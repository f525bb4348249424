"""Describe data sets, convert them to the compact format, and generate synthetic ones."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scalelab import api
from scalelab.cli.dataset_tables import (
    SPLIT_COLUMNS,
    facts_without_splits,
    refused_splits,
    split_rows,
)
from scalelab.cli.options import Json
from scalelab.cli.output import console, grid, note, show_json

__all__ = ["app"]

app = typer.Typer(help="Describe, convert and synthesize data sets.")


@app.callback(invoke_without_command=True)
def _root(context: typer.Context) -> None:
    """Describe, convert and synthesize data sets."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


_DATA_SET = "Set a key of the section data, such as --set split=temporal. May be repeated."
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=_DATA_SET)]
Reader = Annotated[
    str | None,
    typer.Option(
        help="The reader (see: scalelab list readers). Default: chosen by the name of the file."
    ),
]
_File = Annotated[
    str, typer.Argument(help="A file, or the name of a data set in the folder SCALELAB_DATA.")
]


@app.command(epilog="Example: scalelab data describe ratings.dat --reader movielens")
def describe(
    file: _File,
    reader: Reader = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Print counts, lengths, popularity, sizes of the split, and what would be dropped and why."""
    facts = api.data.describe(file, reader=reader, set=settings)
    if as_json:
        show_json(facts)
        return
    notes = facts.pop("notes")
    console().print(grid(("name", "value"), _flat(facts_without_splits(facts))))
    rows = split_rows(facts)
    if rows:
        title = "Splits; seen_before and never_trained_on count test targets"
        console().print(grid(SPLIT_COLUMNS, rows, title=title, right=" ".join(SPLIT_COLUMNS[1:])))
    for text in [*refused_splits(facts), *notes]:
        note(text)


@app.command(epilog="Example: scalelab data convert clicks.parquet clicks --set user=session")
def convert(
    file: _File,
    out: Annotated[Path, typer.Argument(help="The folder to write, in the compact format.")],
    reader: Reader = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Write the compact, memory-mapped format: offsets, item ids, times."""
    facts = api.data.convert(file, out, reader=reader, set=settings)
    if as_json:
        show_json(facts)
    else:
        note(f"wrote {out}")
        console().print(grid(("name", "value"), _flat(facts)))


@app.command(epilog="Example: scalelab data synthesize big --set num_items=10_000_000")
def synthesize(
    out: Annotated[Path, typer.Argument(help="The folder to write, in the compact format.")],
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Generate a synthetic data set in the compact format; its best possible ranking is known."""
    facts = api.data.synthesize(out, set=settings)
    if as_json:
        show_json(facts)
    else:
        note(f"wrote {out}")
        console().print(grid(("name", "value"), _flat(facts)))


def _flat(facts: Any, prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            rows += _flat(value, f"{name}.")
        else:
            rows.append((name, _text(key, value)))
    return rows


def _text(key: str, value: Any) -> str:
    if key in ("first", "last", "cut_time"):
        return str(value)  # a time, not a quantity: no separators
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
