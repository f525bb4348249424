"""Print what works on this machine, and the command that fixes what does not."""

from pathlib import Path
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.options import Json
from scalelab.cli.output import console, grid, note, show_json
from scalelab.core.errors import SpecError

__all__ = ["EXAMPLE", "main"]

EXAMPLE = "Example: scalelab doctor"
_COLOURS = {"ok": "green", "absent": "yellow", "bad": "red"}


def main(
    calibrate: Annotated[
        bool, typer.Option("--calibrate", help="Measure this machine and write a device profile.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="The file or folder of the device profile.")
    ] = None,
    as_json: Json = False,
) -> int:
    """Check Python, torch, CUDA, NVML, threads, memory, disk and optional packages."""
    if out is not None and not calibrate:
        raise SpecError("--out is for the device profile of --calibrate", "add --calibrate")
    checks = api.doctor()
    if calibrate:
        profile = api.calibrate(out)
        note(f"wrote {profile}; use it with: scalelab plan RUN --on {profile}")
    if as_json:
        show_json(checks)
    else:
        rows = [(check.name, check.state, check.detail, check.fix) for check in checks]
        console().print(grid(("part", "state", "found", "fix"), rows))
    return 1 if any(check.state == "bad" for check in checks) else 0
