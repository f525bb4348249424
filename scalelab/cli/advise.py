"""Print which configurations are worth a comparison, and write and run the study of them."""

import gc
from pathlib import Path
from typing import Annotated, Any

import typer

from scalelab import api
from scalelab.cli.options import Json, Quiet, Set
from scalelab.cli.output import say, show_json
from scalelab.cli.plan import Items, On, Users
from scalelab.cli.plan_table import show_ranked
from scalelab.cli.planning_progress import planning_progress
from scalelab.core.units import parse_bytes

__all__ = ["EXAMPLE", "main"]

EXAMPLE = "Example: scalelab advise --items 2M --users 1M --on rtx4090 --hours 8"


def main(
    data: Annotated[
        str | None,
        typer.Argument(help="A data set: a file, or a name in SCALELAB_DATA. Default: generated."),
    ] = None,
    on: On = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="The memory that one run may use, such as 24GiB."),
    ] = None,
    items: Items = None,
    users: Users = None,
    hours: Annotated[
        float | None, typer.Option(help="The hours that the whole study may take.")
    ] = None,
    headroom: Annotated[
        float, typer.Option(help="The share of the memory that is to stay free.")
    ] = 0.1,
    base: Annotated[
        str | None, typer.Option(metavar="RUN", help="The run profile that the study varies.")
    ] = None,
    settings: Set = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The study's file. Default: advise-NAME.toml in this folder."),
    ] = None,
    run: Annotated[
        bool,
        typer.Option("--run", help="Run the study too; the same command resumes it."),
    ] = False,
    ledger: Annotated[
        Path | None, typer.Option(help="The DuckDB file for the results of --run.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="How many runs at the same time.")] = 1,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Advise which losses, batches and numbers of negatives to compare, and write that study."""
    options: dict[str, Any] = {
        "on": on,
        "memory": memory,
        "items": items,
        "users": users,
        "hours": hours,
        "headroom": headroom,
        "base": base,
        "set": settings,
        "out": out,
    }
    if not run:
        gc.disable()  # as for plan; a sweep takes hours, and its garbage is collected
        try:
            with planning_progress(quiet=quiet) as report:
                found = api.advise(data, **options, report=report)
            _show(found, as_json=as_json)
        finally:
            gc.enable()
        return 0
    with planning_progress(quiet=quiet) as report:
        found = _run(
            data,
            options=options | {"report": report},
            memory=memory,
            ledger=ledger,
            workers=workers,
            quiet=quiet,
        )
    from scalelab.cli.results import as_document, show_results

    result = found.pop("result")
    answer = api.answer(result.ledger, budget=memory, study=found["study"]["file"])
    if as_json:
        show_json(found | {"sweep": as_document(result, dry_run=False, answer=answer)})
    else:
        show_results(result, None if memory is None else parse_bytes(memory), answer)
    return result.exit_code


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    show_ranked(found["configurations"])
    say(found["sentence"], wrap=True)
    for place, command in enumerate(found["next"]):
        say(f"{'next:' if place == 0 else '     '} {command}")


def _run(
    data: str | None,
    *,
    options: dict[str, Any],
    memory: str | None,
    ledger: Path | None,
    workers: int,
    quiet: bool,
) -> dict[str, Any]:
    from scalelab.cli.watch import watching

    with watching(None if memory is None else parse_bytes(memory), workers, quiet=quiet) as watcher:
        return api.advise(
            data, **options, run=True, ledger=ledger, workers=workers, observer=watcher
        )
