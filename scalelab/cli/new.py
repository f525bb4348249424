"""Write a loss, model or chart of one's own, with its test, into the working folder."""

from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.options import Json
from scalelab.cli.output import note, show_json

__all__ = ["EXAMPLE", "main"]

EXAMPLE = "Example: scalelab new loss my_loss"


def main(
    kind: Annotated[str, typer.Argument(help="loss, model or chart.")],
    name: Annotated[str, typer.Argument(help="Name of the file without .py, such as my_loss.")],
    as_json: Json = False,
) -> None:
    """Write a part and its test into the working folder, as a start for one of your own."""
    written = api.new(kind, name)
    if as_json:
        show_json({"files": written.files, "commands": written.commands})
        return
    for file in written.files:
        note(f"wrote {file.name}")
    for word, command in zip(("test it:", "try it: "), written.commands, strict=True):
        note(f"{word} {command}")
