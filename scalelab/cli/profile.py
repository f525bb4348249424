"""A run in, all that was recorded of it out."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scalelab import api
from scalelab.cli.options import Device, Json, Out, Set
from scalelab.cli.output import console, grid, show_json
from scalelab.core.units import format_bytes, format_seconds

__all__ = ["EXAMPLE", "main"]

EXAMPLE = "Example: scalelab profile sasrec-synthetic --set loss.name=gbce --steps 20 --out prof"


def main(
    run: Annotated[str, typer.Argument(help="A run profile: a name or a TOML file.")],
    settings: Set = None,
    out: Out = None,
    steps: Annotated[int, typer.Option(min=0, help="Stop after N training steps; 0: all.")] = 0,
    save_model: Annotated[
        Path | None, typer.Option(help="Keep the weights (safetensors) and the spec here.")
    ] = None,
    device: Device = None,
    as_json: Json = False,
) -> int:
    """Run once with everything recorded: components at the peak, timeline, trace, quality."""
    facts = api.profile(
        run, set=settings, out=out, steps=steps, save_model=save_model, device=device
    )
    if as_json:
        show_json(facts)
    else:
        _show(facts)
    return 0 if facts["outcome"] in ("done", "oom") else 1


def _show(facts: dict[str, Any]) -> None:
    screen = console()
    screen.print(f"outcome: {facts['outcome']}")
    if facts.get("error"):
        screen.print(str(facts["error"]), markup=False)
    for stage, kinds in facts["memory"].items():
        for kind, components in kinds.items():
            rows = _shares(components)
            if rows:
                title = f"{stage}, {kind}"
                columns = ("component", "bytes", "share")
                screen.print(grid(columns, rows, title=title, right="bytes share"))
    quality = [
        (split, name, f"{value:.4f}")
        for split, values in facts["metrics"].items()
        for name, value in values.items()
    ]
    if quality:
        screen.print(grid(("split", "metric", "value"), quality, right="value"))
    for name, value in facts["time"].items():
        if value is not None:
            shown = format_seconds(value) if name != "tokens_per_s" else f"{value:,.0f}"
            screen.print(f"{name}: {shown}")
    for name, path in facts["files"].items():
        screen.print(f"{name}: {path}", markup=False, soft_wrap=True)


def _shares(components: dict[str, Any]) -> list[tuple[str, str, str]]:
    total = components.get("total") or 0
    known = [(name, count) for name, count in components.items() if count]
    known.sort(key=lambda pair: (pair[0] != "total", -pair[1]))
    return [
        (name, format_bytes(count), f"{count / total:.1%}" if total else "")
        for name, count in known
    ]
