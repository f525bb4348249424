"""Print the results of a ledger beside published results."""

from pathlib import Path
from typing import Annotated, Any

import typer

from scalelab import api
from scalelab.cli.options import Json
from scalelab.cli.output import console, grid, note, say, show_json

__all__ = ["EXAMPLE", "main"]

EXAMPLE = "Example: scalelab compare beauty-losses.duckdb"

_MOST = 10
_COLUMNS = ("model", "loss", "metric", "published", "ours", "spread", "ratio", "seeds")
_NUMBERS = "published ours spread ratio seeds"
_WHAT = ("dataset", "model", "loss")


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
        _show(rows)
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
    for text in dict.fromkeys(text for row in rows for text in _doubts(row)):
        note(f"ours, {text}")
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
    if not rows and not missing:
        note(f"published results are on {', '.join(api.published_data(ledger, published))}")


def _show(rows: list[dict[str, Any]]) -> None:
    """The table; what is long, the sources, stands below it by number."""
    names = dict.fromkeys(row["source"] or "no source" for row in rows)
    sources = {source: str(number) for number, source in enumerate(names, 1)}
    several = len({row["dataset"] for row in rows}) > 1
    empty = {name for name in ("spread",) if all(row[name] is None for row in rows)}
    columns = [*(["dataset"] if several else []), *(n for n in _COLUMNS if n not in empty)]
    cells = [
        [*(_cell(row[name]) for name in columns), sources[row["source"] or "no source"]]
        for row in rows
    ]
    title = "" if several else rows[0]["dataset"]
    console().print(grid((*columns, "source"), cells, title=title, right=_NUMBERS))
    for source, number in sources.items():
        say(f"source {number}: {source}", wrap=True)


def _doubts(row: dict[str, Any]) -> list[str]:
    """What is to be known of ours before it is compared, by the names that the table has."""
    where, found = ", ".join(row[name] for name in _WHAT), []
    if row["lost_seeds"]:
        number = f"{row['lost_seeds']} of {row['lost_seeds'] + row['seeds']} seeds"
        found.append(f"{where}: {number} ended without a result and are not counted")
    if row["other_negatives"]:
        found.append(f"{where}: {row['other_negatives']}")
    if row["note"]:
        found.append(f"{where}: {row['note']}")
    return found


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
