"""Write top lists of a kept model for histories."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.options import Json, Quiet
from scalelab.cli.output import note, show_json

__all__ = ["EXAMPLE", "main"]


class RowFormat(StrEnum):
    """The format of the lists."""

    PARQUET = "parquet"
    CSV = "csv"
    JSONL = "jsonl"


EXAMPLE = "Example: scalelab recommend kept-model histories.csv --k 20 --out top.parquet"


def main(
    model: Annotated[Path, typer.Argument(help="The folder that profile --save-model wrote.")],
    histories: Annotated[Path, typer.Argument(help="Interactions of users, in any readable file.")],
    out: Annotated[Path, typer.Option(help="The file to write: .parquet, .csv or .jsonl.")],
    k: Annotated[int, typer.Option(help="The length of a list.")] = 20,
    include_seen: Annotated[
        bool, typer.Option("--include-seen", help="Also recommend items of the user's history.")
    ] = False,
    reader: Annotated[
        str | None, typer.Option(help="The reader of the histories. Default: by the suffix.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help=r"A key of \[data]. May be repeated."),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    format: Annotated[
        RowFormat | None,
        typer.Option("--format", help="The format. Default: the ending of --out."),
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the best items for each user by a kept model, in the ids of your files."""
    made = api.recommend(
        model,
        histories,
        out,
        k=k,
        include_seen=include_seen,
        reader=reader,
        set=settings,
        device=device,
        format=None if format is None else format.value,
    )
    if as_json:
        show_json(made)
    if quiet:
        return
    note(f"wrote {made.rows:,} rows for {made.users:,} users to {made.path}")
    if made.unknown_items:
        note(f"{made.unknown_items:,} of {made.items:,} items are unknown to the model: left out")
    if made.users_without_list:
        note(f"{made.users_without_list:,} users have no list: the model knows none of their items")
    if made.unknown_users:
        note(
            f"{made.unknown_users:,} users are unknown to the model: no vector of their own is "
            "added, their items alone decide"
        )
    if not made.own_user_ids:
        note("users are counted from 1, in their order in the file: the reader keeps no ids")
