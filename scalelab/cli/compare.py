"""Print the results of a ledger beside published results."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scalelab import api
from scalelab.cli.options import Json
from scalelab.cli.output import console, grid, note, show_json

__all__ = ["EXAMPLE", "main"]

EXAMPLE = "Example: scalelab compare beauty-losses.duckdb"

_MOST = 10
_COLUMNS = (
    "dataset", "model", "loss", "metric", "published", "ours", "spread", "ratio", "seeds", "source",
)  # fmt: skip


def main(
    ledger: Annotated[Path, typer.Argument(help="A ledger, such as beauty-losses.duckdb.")],
    published: Annotated[
        Path | None,
        typer.Option(help="Published results (CSV). Default: the study's file, or scalelab's own."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print your results beside published ones: dataset, model, loss, metric, values, ratio."""
    rows = api.compare(ledger, published).to_pylist()
    if as_json:
        show_json(rows)
    elif rows:
        cells = [[_cell(row[name]) for name in _COLUMNS] for row in rows]
        console().print(grid(_COLUMNS, cells, right="published ours spread ratio seeds"))
    else:
        note("no finished run has data set, model, loss, protocol and metric of a published result")
    for theirs, ours, unknown in dict.fromkeys(
        (row["published_protocol"], row["our_protocol"], row["not_stated"]) for row in rows
    ):
        more = f" ({unknown})" if theirs and unknown else ""
        note(f"protocols: theirs {theirs or 'not stated'}{more}; ours {ours}")
    chosen_by = dict.fromkeys(row["chosen_by"] for row in rows)
    if len(chosen_by) > 1:
        note(f"ours were chosen on validation by {', '.join(chosen_by)}: one row for each")
    for text in dict.fromkeys(_lost(row) for row in rows if row["lost_seeds"]):
        note(text)
    if rows:
        for text in api.contradictions(ledger, published):
            note(f"published figures: {text}")
        for text in api.data_notes(ledger):
            note(text)
    missing = api.unmatched(ledger, published)
    for line in missing[:_MOST]:
        note(f"no counterpart: {line}")
    if len(missing) > _MOST:
        note(f"no counterpart: {len(missing) - _MOST} more")


def _lost(row: dict[str, Any]) -> str:
    where = ", ".join(row[name] for name in ("dataset", "model", "our_loss"))
    seeds = row["lost_seeds"] + row["seeds"]
    number = f"{row['lost_seeds']} of {seeds} seeds"
    return f"ours, {where}: {number} ended without a result and are not counted"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
