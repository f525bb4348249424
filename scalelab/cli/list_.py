"""List the parts (losses, models, ...) that a run can name."""

from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalelab import api
from scalelab.cli.completion import complete_kind
from scalelab.cli.output import console, grid, say, show_json

if TYPE_CHECKING:
    from scalelab.core.part_options import PartOption
    from scalelab.core.parts import Part

__all__ = ["EXAMPLE", "main"]

EXAMPLE = "Example: scalelab list losses"


def main(
    kind: Annotated[
        str | None,
        typer.Argument(
            help="models, losses, tables, packers, negatives, readers, probes, charts, executors, "
            "profiles, devices or studies. Default: the names of all of them.",
            autocompletion=complete_kind,
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Argument(help="One part alone: a name, package.module:Class or ./file.py:Class."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """List the parts that a run can name, with their options, defaults and sources."""
    found = api.list_parts(kind, name)
    if as_json:
        show_json({name: [_document(part) for part in parts] for name, parts in found.items()})
        return
    screen = console()
    if kind is None:
        # With descriptions and options this would be a thousand lines.
        rows = [(each, ", ".join(part.name for part in parts)) for each, parts in found.items()]
        screen.print(grid(("kind", "names"), rows))
        say("see:  scalelab list losses")
        say("      scalelab list losses rece")
        return
    for each, parts in found.items():
        rows = []
        for part in parts:
            options = [_explained(option) for option in part.options]
            rows.append((part.name, part.summary, "\n".join(options), part.source or part.origin))
        screen.print(grid(("name", "description", "options", "source"), rows, title=each))


def _explained(option: "PartOption") -> str:
    default = "" if option.default == "" else f" = {option.default}"
    meaning = f": {option.meaning}" if option.meaning else ""
    return f"{option.name}{default}{meaning} ({option.allowed})"


def _document(part: "Part") -> dict[str, Any]:
    options = [
        {name: getattr(option, name) for name in ("name", "default", "allowed", "meaning")}
        for option in part.options
    ]
    return {**{field.name: getattr(part, field.name) for field in fields(part)}, "options": options}
