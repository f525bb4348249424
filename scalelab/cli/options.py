"""Options that several commands share, written once."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Budget", "Device", "Json", "Out", "Quiet", "Set"]

Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any field of the run; may be repeated."),
]
Budget = Annotated[
    str | None, typer.Option(metavar="SIZE", help="Memory of a run, such as 300MiB or 24GiB.")
]
Device = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda or cuda:1; else as the profile says.")
]
Out = Annotated[Path | None, typer.Option(help="Write here.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no notes.")]
