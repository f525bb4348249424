"""Run a study and store its results in a ledger, with a live view in the terminal."""

from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.completion import complete_study
from scalelab.cli.options import Budget, Device, Json, Quiet, Set, Time
from scalelab.cli.output import show_json
from scalelab.core.study import StudySpec
from scalelab.core.units import parse_bytes

__all__ = ["EXAMPLE", "Order", "Rerun", "main"]

EXAMPLE = "Example: scalelab sweep quickstart --set data.num_items=50_000 --workers 2"


class Rerun(StrEnum):
    """Which finished runs are run again."""

    FAILED = "failed"
    OOM = "oom"
    ALL = "all"


class Order(StrEnum):
    """Which runs come first."""

    COST = "cost"
    COSTLY = "costly"
    GIVEN = "given"
    RANDOM = "random"


def main(
    study: Annotated[
        str,
        typer.Argument(
            help="A study: its name (see: scalelab list studies) or its TOML file.",
            autocompletion=complete_study,
        ),
    ],
    ledger: Annotated[
        Path | None,
        typer.Option(
            help="The DuckDB file for the results. Default: STUDYNAME.duckdb in this folder."
        ),
    ] = None,
    settings: Set = None,
    executor: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What executes the runs: processes, inline, cluster or one of your own.",
        ),
    ] = "processes",
    address: Annotated[
        str | None, typer.Option(help="The address of a Ray cluster, for --executor cluster.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="How many runs at the same time.")] = 1,
    device: Device = None,
    budget: Budget = None,
    time_budget: Time = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the planned runs with predictions; run nothing."),
    ] = False,
    rerun: Annotated[
        Rerun | None, typer.Option(help="Run these again although the ledger has their results.")
    ] = None,
    order: Annotated[
        Order,
        typer.Option(
            help="Which runs come first: the cheapest, the most expensive, as given, or random."
        ),
    ] = Order.COST,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Run every configuration of a study and store the results. The same command resumes it."""
    # Imported here because the live view needs rich, which other commands should not wait for.
    from scalelab.cli.earlier import earlier_of
    from scalelab.cli.results import as_document, show_dry_run, show_results
    from scalelab.cli.watch import watching

    spec = StudySpec.load(study)
    memory = budget if budget is not None else spec.budget.memory
    budget_bytes = None if memory is None else parse_bytes(memory)
    file = ledger if ledger is not None else Path(f"{spec.name}.duckdb")

    def answer_so_far() -> str:
        return api.answer(file, budget=budget, study=study).text

    shown = None if dry_run else answer_so_far
    with watching(
        budget_bytes,
        workers,
        quiet=quiet,
        answer=shown,
        earlier=partial(earlier_of, file),
    ) as observer:
        result = api.sweep(
            spec,
            ledger=file,
            set=settings,
            executor=executor,
            address=address,
            workers=workers,
            device=device,
            budget=budget,
            time_budget=time_budget,
            dry_run=dry_run,
            rerun=rerun.value if rerun else None,
            order=order.value,
            observer=observer,
        )
    # The study as it was typed: the next command names it so.
    answer = None if dry_run else api.answer(result.ledger, budget=budget, study=study)
    if as_json:
        show_json(as_document(result, dry_run=dry_run, answer=answer))
    elif dry_run:
        show_dry_run(result)
    else:
        show_results(result, budget_bytes, answer)
    return 0 if dry_run else result.exit_code
