"""Predict what one training step of a user's own model would take on a device; nothing runs."""

import contextlib
import sys
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.options import Budget, Json
from scalelab.cli.output import say, show_json

__all__ = ["EXAMPLE", "main"]

EXAMPLE = "Example: scalelab estimate my_step.py:small --on h100 --budget 24GiB"


def main(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE:FUNCTION",
            help="A function that returns model, step, inputs, optimizer; step(model, inputs) "
            "returns the loss.",
        ),
    ],
    on: Annotated[
        str | None,
        typer.Option(metavar="PROFILE", help="A device profile: name or file; else this machine."),
    ] = None,
    budget: Budget = None,
    accumulate: Annotated[
        int, typer.Option(min=1, metavar="N", help="Steps whose gradients make one update.")
    ] = 1,
    as_json: Json = False,
) -> None:
    """Predict bytes by kind and module, reserved bytes and seconds of one training step of your
    own PyTorch model. Exit code 1: it does not fit.
    """
    # The file may print what it likes; standard output is for the result.
    with contextlib.redirect_stdout(sys.stderr):
        found = api.estimate_file(target, on=on, budget=budget, accumulate=accumulate)
    if as_json:
        show_json(found.as_dict())
    else:
        say(str(found))
    if not found.fits:
        raise typer.Exit(1)
