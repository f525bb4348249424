"""Define the options that several commands share."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from scalelab.cli.completion import complete_setting
from scalelab.core.errors import SpecError

__all__ = ["Budget", "Device", "Json", "Out", "Quiet", "Set", "Time"]


def _with_unit(name: str, like: str) -> Callable[[str | None], str | None]:
    """A check that refuses a bare number: `--budget 8` is nobody's wish for eight bytes."""

    def check(value: str | None) -> str | None:
        if value is not None and value.strip().isdecimal():
            number = value.strip()
            raise SpecError(f"{name} {number} has no unit", f"write for example {number}{like}")
        return value

    return check


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
    typer.Option(
        metavar="SIZE",
        help="The memory that one run may use, such as 300MiB or 24GiB.",
        callback=_with_unit("--budget", "GiB"),
    ),
]
Time = Annotated[
    str | None,
    typer.Option(
        "--time-budget",
        metavar="DURATION",
        help="The time of the whole sweep, such as 90s, 10min or 2h.",
        callback=_with_unit("--time-budget", "min"),
    ),
]
Device = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda or cuda:1. Default: what the profile says.")
]
Out = Annotated[Path | None, typer.Option(help="The file or folder to write.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print no progress and no notes.")]
