"""Data sets in, what is in them, their compact form, or synthetic ones out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scalelab import api
from scalelab.cli.options import Json
from scalelab.cli.output import console, grid, note, show_json

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, help="Describe, convert and synthesize data sets.")

_DATA_SET = "Any field of [data], such as --set split=temporal; may be repeated."
Settings = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=_DATA_SET)]
Reader = Annotated[
    str | None, typer.Option(help="How to read it (scalelab list readers); else by its name.")
]


@app.command(epilog="Example: scalelab data describe ratings.dat --reader movielens")
def describe(
    file: Annotated[str, typer.Argument(help="A file, or a name under SCALELAB_DATA.")],
    reader: Reader = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Counts, lengths, popularity, split sizes, and what would be dropped and why."""
    facts = api.data.describe(file, reader=reader, set=settings)
    if as_json:
        show_json(facts)
        return
    console().print(grid(("what", "value"), _flat(facts)))


@app.command(epilog="Example: scalelab data convert clicks.parquet clicks --set user=session")
def convert(
    file: Annotated[str, typer.Argument(help="A file, or a name under SCALELAB_DATA.")],
    out: Annotated[Path, typer.Argument(help="The folder of the compact form.")],
    reader: Reader = None,
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Write the compact, memory-mapped form: offsets, item ids, times."""
    facts = api.data.convert(file, out, reader=reader, set=settings)
    if as_json:
        show_json(facts)
    else:
        note(f"wrote {out}")
        console().print(grid(("what", "value"), _flat(facts)))


@app.command(epilog="Example: scalelab data synthesize big --set num_items=10_000_000")
def synthesize(
    out: Annotated[Path, typer.Argument(help="The folder of the compact form.")],
    settings: Settings = None,
    as_json: Json = False,
) -> None:
    """Generate a synthetic catalog with tastes and transitions, in the compact form."""
    facts = api.data.synthesize(out, set=settings)
    if as_json:
        show_json(facts)
    else:
        note(f"wrote {out}")
        console().print(grid(("what", "value"), _flat(facts)))


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
        return str(value)  # a time: no quantity, so no separators
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)
