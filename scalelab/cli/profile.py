"""Run once, record everything, and print what was recorded."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from scalelab import api
from scalelab.cli.completion import complete_run
from scalelab.cli.options import Device, Json, Out, Quiet, Set
from scalelab.cli.output import console, grid, note, say, show_json
from scalelab.core.events import Planned, Progress
from scalelab.core.units import format_bytes, format_seconds, format_share

__all__ = ["EXAMPLE", "main", "metric_columns"]

EXAMPLE = "Example: scalelab profile sasrec-synthetic --set loss.name=gbce --steps 20 --out prof"
# What shows the files that no text editor shows.
_OPENED = {
    "trace": "open it in Perfetto or at chrome://tracing",
    "snapshot": "open it with PyTorch's memory_viz page",
}

# What the names of metrics begin with that belong to the ranking by the true probabilities.
_ORACLE = "oracle_"


def main(
    run: Annotated[
        str,
        typer.Argument(
            help="A run profile: its name or its TOML file.", autocompletion=complete_run
        ),
    ],
    settings: Set = None,
    out: Out = None,
    steps: Annotated[
        int, typer.Option(min=0, help="Stop after N training steps; 0 trains to the end.")
    ] = 0,
    save_model: Annotated[
        Path | None, typer.Option(help="The folder for the weights (safetensors) and the settings.")
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Store the run in this ledger, with its timeline: scalelab report FILE draws it.",
        ),
    ] = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> int:
    """Run once and record everything: memory by component, timeline, trace, time, quality."""
    from scalelab.cli.watch import watching

    with watching(quiet=quiet) as observer:

        def report(progress: Progress) -> None:
            if not observer.snapshot().total:
                observer.on_plan("profile", device or "", [_cell(run)])
                observer.on_run_start(run)
            observer.on_progress(replace(progress, run_id=run))

        facts = api.profile(
            run,
            set=settings,
            out=out,
            steps=steps,
            save_model=save_model,
            ledger=ledger,
            device=device,
            report=report,
        )
    if as_json:
        show_json(facts)
    else:
        _show(facts)
        if ledger is not None:
            file = shlex.quote(str(ledger))
            note(f"stored in {ledger}; next: scalelab report {file} --chart timeline")
    return 0 if facts["outcome"] in ("done", "oom") else 1


def _show(facts: dict[str, Any]) -> None:
    screen = console()
    screen.print(f"outcome: {facts['outcome']}")
    if facts.get("error"):
        say(str(facts["error"]))
    for stage, kinds in facts["memory"].items():
        rows = _shares(kinds.get("requested", {}))
        if rows:
            columns = ("component", "bytes", "share")
            title = f"{stage}, requested"
            screen.print(grid(columns, rows, title=title, right="bytes share"))
    columns = ("kind of memory", "train", "eval", "process", "adds", "why")
    rows = [
        (row["kind"], *(_bytes(row[name]) for name in columns[1:5]), row["why"])
        for row in facts["kinds"]
    ]
    screen.print(grid(columns, rows, right="train eval process adds"))
    columns = metric_columns(facts["metrics"])
    names = dict.fromkeys(name for values in columns.values() for name in values)
    if names:
        rows = [(name, *(_value(values, name) for values in columns.values())) for name in names]
        screen.print(grid(("metric", *columns), rows, right=" ".join(columns)))
    for name, value in facts["time"].items():
        if value is not None:
            is_ratio = name == "wait_fraction"
            shown = f"{value:.2%}" if is_ratio else format_seconds(value)
            shown = f"{value:,.0f}" if name == "tokens_per_s" else shown
            screen.print(f"{name}: {shown}")
    for text in facts["notes"]:
        say(text)
    for loss, way in facts["kernels"].items():
        say(f"kernel of {loss}: {way}")
    for name, path in facts["files"].items():
        opened = _OPENED.get(name)
        say(f"{name}: {path}" + (f" ({opened})" if opened else ""))


def _cell(run: str) -> Planned:
    return Planned(
        run_id=run,
        label=run,
        device="",
        predicted_bytes=None,
        predicted_s=None,
        finished_before=False,
        skipped_because=None,
    )


def metric_columns(metrics: dict[str, dict[str, float]]) -> dict[str, dict[str, float]]:
    """The metrics by split, and in a column of their own those of the true probabilities."""
    columns: dict[str, dict[str, float]] = {}
    oracle: dict[str, float] = {}
    for split, values in metrics.items():
        columns[split] = {}
        for name, value in values.items():
            into = oracle if name.startswith(_ORACLE) else columns[split]
            into[name.removeprefix(_ORACLE)] = value
    return columns | ({"oracle": oracle} if oracle else {})


def _value(values: dict[str, float], name: str) -> str:
    if name not in values:
        return ""
    return f"{values[name]:,.0f}" if name.startswith("num_") else f"{values[name]:.4f}"


def _bytes(count: int | None) -> str:
    return "" if count is None else format_bytes(count)


def _shares(components: dict[str, Any]) -> list[tuple[str, str, str]]:
    total = components.get("total") or 0
    known = [(name, count) for name, count in components.items() if count]
    known.sort(key=lambda pair: (pair[0] != "total", -pair[1]))
    return [
        (name, format_bytes(count), format_share(count / total) if total else "")
        for name, count in known
    ]
