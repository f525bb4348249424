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
from scalelab.cli.output import console, fits_terminal, grid, say, show_json
from scalelab.cli.plan_table import show_ranked
from scalelab.cli.planning_progress import planning_progress
from scalelab.core.units import format_bytes, format_range

__all__ = ["EXAMPLE", "Items", "On", "Users", "main"]

EXAMPLE = "Example: scalelab plan sasrec-synthetic --on rtx3090 --solve batch.size"

# What is reserved is what counts against a limit; CUDA's context is left out of both.
_KINDS = ("requested", "allocated", "reserved")

On = Annotated[
    str | None,
    typer.Option(
        metavar="PROFILE",
        help="A device profile (see: scalelab list devices). Default: the device of the run.",
        autocompletion=complete_device_profile,
    ),
]
Items = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Plan for so many items, such as 2M, whatever the data have; lengths are the data's.",
    ),
]
Users = Annotated[
    str | None,
    typer.Option(
        metavar="NUMBER",
        help="Plan for so many users, such as 300k, with lengths as those of the data.",
    ),
]


def main(
    run_or_study: Annotated[
        str,
        typer.Argument(
            help="A run profile or a study: its name or its file.",
            autocompletion=complete_run_or_study,
        ),
    ],
    on: On = None,
    budget: Budget = None,
    items: Items = None,
    users: Users = None,
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
        with planning_progress() as report:
            found = api.plan(
                run_or_study,
                on=on,
                budget=budget,
                solve=solve,
                set=settings,
                items=items,
                users=users,
                report=report,
            )
        _show(found, as_json=as_json)
    finally:
        gc.enable()


def _show(found: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    if len(found) == 1 and found[0]["memory"]:
        _show_one(found[0])
    else:
        show_ranked(api.ranked(found))
    say(api.plan_sentence(found), wrap=True)


def _show_one(document: dict[str, Any]) -> None:
    """Memory by kind, seconds, and memory by component."""
    screen = console()
    kinds = [kind for kind in _KINDS if kind in document["memory"]]
    on_cpu = document["host_rss_bytes"] is not None
    process = ("host_rss",) if on_cpu else ()
    times = ("per step", "evaluation takes", "per run")
    columns = ("configuration", *kinds, "evaluation", *process, *times)
    seconds = document["seconds"]
    row = (
        document["label"] or "this run",
        *(_of_run(document, kind) for kind in kinds),
        _total(document["evaluation"], "requested"),
        *(format_bytes(document["host_rss_bytes"]) for _ in process),
        *(format_range(**seconds[name]) for name in ("step", "evaluation", "run")),
    )
    numbers = " ".join([*kinds, "evaluation", *process])
    if fits_terminal(columns, [row], right=numbers):
        screen.print(grid(columns, [row], right=numbers))
    else:
        screen.print(grid((row[0], ""), list(zip(columns[1:], row[1:], strict=True))))
    screen.print(_components(document))


def _components(document: dict[str, Any]) -> Any:
    """Requested bytes by component at the peaks of training and evaluation, largest first."""
    step, evaluation = (document[stage].get("requested", {}) for stage in ("memory", "evaluation"))
    names = sorted({**step, **evaluation}, key=lambda name: (-step.get(name, 0), name))
    sizes = [
        (name, *(format_bytes(part[name]) if name in part else "" for part in (step, evaluation)))
        for name in names
    ]
    columns = ("component", "training", "evaluation")
    return grid(columns, sizes, right="training evaluation")


def _of_run(document: dict[str, Any], kind: str) -> str:
    """Bytes of the training step; what is reserved stays so, and evaluation may have more."""
    if kind == "reserved":
        return format_bytes(document["needed_bytes"])
    return _total(document["memory"], kind)


def _total(memory: dict[str, Any], kind: str) -> str:
    count = memory.get(kind, {}).get("total")
    return format_bytes(count) if count is not None else ""
