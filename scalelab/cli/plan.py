"""Print the predicted memory and time of a run or a study, without running it."""

import gc
from typing import Annotated, Any

import typer

from scalelab import api
from scalelab.cli.completion import (
    complete_device_profile,
    complete_key,
    complete_run_or_study,
)
from scalelab.cli.options import Budget, Json, Set
from scalelab.cli.output import console, fits_terminal, grid, note, show_json
from scalelab.core.units import format_bytes, format_seconds

__all__ = ["EXAMPLE", "main"]

EXAMPLE = "Example: scalelab plan sasrec-synthetic --on rtx3090 --solve batch.size"

_KINDS = ("requested", "allocated", "reserved", "device_used")
_WHY_LAST = {"batch.size": ": one step already holds all sequences"}


def main(
    run_or_study: Annotated[
        str,
        typer.Argument(
            help="A run profile or a study: its name or its file.",
            autocompletion=complete_run_or_study,
        ),
    ],
    on: Annotated[
        str | None,
        typer.Option(
            metavar="PROFILE",
            help="A device profile (see: scalelab list devices). Default: the device of the run.",
            autocompletion=complete_device_profile,
        ),
    ] = None,
    budget: Budget = None,
    solve: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Find the largest value of KEY that fits.",
            autocompletion=complete_key,
        ),
    ] = None,
    settings: Set = None,
    as_json: Json = False,
) -> None:
    """Predict the memory (by component) and the time of a run or a study, and whether it fits."""
    # Importing torch makes hundreds of thousands of objects. Collecting garbage among them takes a
    # third of the time of a plan and finds almost nothing.
    gc.disable()
    try:
        cells = api.plan(run_or_study, on=on, budget=budget, solve=solve, set=settings)
    finally:
        gc.enable()
    if as_json:
        show_json(cells)
    else:
        _show(cells)


def _show(cells: list[dict[str, Any]]) -> None:
    screen = console()
    solved = ("value",) if "value" in cells[0] else ()
    # A CPU has no allocator of its own, so columns without any value are left out.
    kinds = [kind for kind in _KINDS if any(kind in cell["memory"] for cell in cells)]
    columns = ("configuration", *solved, *kinds, "evaluation", "per step", "per run", "fits")
    rows = [
        (
            cell["label"] or "this run",
            *(_value(cell) for _ in solved),
            *(_total(cell["memory"], kind) for kind in kinds),
            _total(cell["evaluation"], "requested"),
            _range(cell["seconds"]["step"]),
            _range(cell["seconds"]["run"]),
            {True: "yes", False: "no", None: "unknown"}[cell["fits"]],
        )
        for cell in cells
    ]
    numbers = " ".join([*kinds, "evaluation"])
    if fits_terminal(columns, rows, right=numbers):
        screen.print(grid(columns, rows, right=numbers))
    else:
        for name, *values in rows:
            screen.print(grid((name, ""), list(zip(columns[1:], values, strict=True))))
    if len(cells) == 1 and cells[0]["memory"]:
        screen.print(_components(cells[0]))
    limits = {cell["limit_bytes"] for cell in cells}
    note(f"{cells[0]['device']}: at most {', '.join(map(format_bytes, sorted(limits)))}")
    for reason in dict.fromkeys(cell["reason"] for cell in cells if not cell["fits"]):
        note(reason)
    if any(cell["fits"] and _reserved(cell) > cell["limit_bytes"] for cell in cells):
        note("reserved is predicted without a limit; near it the allocator frees what it caches")
    for found in dict.fromkeys(_value(cell) for cell in cells if _is_last(cell)):
        note(f"{found} fits; no larger value was tried{_WHY_LAST.get(cells[0]['key'], '')}")


def _components(cell: dict[str, Any]) -> Any:
    """Requested bytes by component at the peaks of training and evaluation, largest first."""
    step, evaluation = (cell[stage].get("requested", {}) for stage in ("memory", "evaluation"))
    names = sorted({**step, **evaluation}, key=lambda name: (-step.get(name, 0), name))
    sizes = [
        (name, *(format_bytes(part[name]) if name in part else "" for part in (step, evaluation)))
        for name in names
    ]
    columns = ("component", "training", "evaluation")
    return grid(columns, sizes, right="training evaluation")


def _value(cell: dict[str, Any]) -> str:
    return "" if cell["value"] is None else f"{cell['key']} = {cell['value']:,}"


def _reserved(cell: dict[str, Any]) -> int:
    stages = (cell["memory"], cell["evaluation"])
    return max(stage.get("reserved", {}).get("total", 0) for stage in stages)


def _is_last(cell: dict[str, Any]) -> bool:
    return cell.get("value") is not None and cell["next_value"] is None


def _total(memory: dict[str, Any], kind: str) -> str:
    count = memory.get(kind, {}).get("total")
    return format_bytes(count) if count is not None else ""


def _range(seconds: dict[str, Any] | None) -> str:
    if not seconds or seconds.get("low") is None:
        return ""
    low, high = format_seconds(seconds["low"]), format_seconds(seconds["high"])
    same_unit = " " in low and low.split()[1:] == high.split()[1:]
    return f"{low.split()[0] if same_unit else low} to {high}"
