"""Print the configurations of a plan, ranked, one line each."""

import sys
from typing import Any

from scalelab import api
from scalelab.cli.output import clean, console, say
from scalelab.core.units import format_bytes, format_range, format_share

__all__ = ["show_ranked"]

# Shorter words for long keys, where a line would not fit the width.
_SHORT = (
    ("per=", ""),
    ("num_negatives=", "neg="),
    ("n_extra_chunks=", "extra="),
    ("num_items=", "items="),
    ("num_users=", "users="),
)
_GAP = "  "


def show_ranked(documents: list[dict[str, Any]]) -> None:
    """One line per configuration. Columns that do not fit the width are left out."""
    solved = "value" in documents[0]
    columns = ["configuration", "memory", "free", "evaluation", "per run"]
    if solved:
        columns.insert(1, documents[0]["key"].rpartition(".")[2])
    rows = [_row(document, solved=solved) for document in documents]
    if "chosen" in documents[0]:
        columns.append("compared")
        rows = [
            [*row, "yes" if document["chosen"] else "no"]
            for row, document in zip(rows, documents, strict=True)
        ]
    # Files and pipes have no width: there a line is as long as it needs to be.
    width = console().width if sys.stdout.isatty() else max(80, console().width)
    if _width(columns, rows) > width:
        rows = [[_shortened(row[0]), *row[1:]] for row in rows]
    if _width(columns, rows) > width:
        place = columns.index("evaluation")
        columns, rows = _without(columns, place), [_without(row, place) for row in rows]
    widths = _widths(columns, rows)
    for row in [columns, *rows]:
        cells = [
            text.ljust(wide) if place == 0 else text.rjust(wide)
            for place, (text, wide) in enumerate(zip(row, widths, strict=True))
        ]
        say(_GAP.join(cells).rstrip())
    say("")


def _row(document: dict[str, Any], *, solved: bool) -> list[str]:
    needed, free = document["needed_bytes"], api.headroom_of(document)
    seconds = document["seconds"]
    value = document.get("value")
    fits = {True: "", False: "too large", None: "unknown"}[document["fits"]]
    return [
        clean(document["label"] or "this run"),
        *(["" if value is None else f"{value:,}"] if solved else []),
        "" if needed is None else format_bytes(needed),
        fits if free is None else format_share(free),
        *(format_range(**seconds[name]) if seconds[name] else "" for name in ("evaluation", "run")),
    ]


def _shortened(label: str) -> str:
    for long, short in _SHORT:
        label = label.replace(long, short)
    return label


def _widths(columns: list[str], rows: list[list[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(columns, *rows, strict=True)]


def _width(columns: list[str], rows: list[list[str]]) -> int:
    return sum(_widths(columns, rows)) + len(_GAP) * (len(columns) - 1)


def _without(row: list[str], place: int) -> list[str]:
    return [*row[:place], *row[place + 1 :]]
