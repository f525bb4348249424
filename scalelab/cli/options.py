"""Define the options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from scalelab.cli.completion import complete_setting

__all__ = ["Budget", "Device", "Json", "Out", "Quiet", "Set"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set a key of the run (see: scalelab keys). May be repeated.",
        autocompletion=complete_setting,
    ),
]
Budget = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="The memory that one run may use, such as 300MiB or 24GiB."),
]
Device = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda or cuda:1. Default: what the profile says.")
]
Out = Annotated[Path | None, typer.Option(help="The file or folder to write.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no notes.")]
