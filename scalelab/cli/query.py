"""SQL in, rows of a ledger out."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.output import clean, console, grid, note, show_rows

__all__ = ["EXAMPLE", "Format", "main"]

EXAMPLE = 'Example: scalelab query quickstart.duckdb "FROM results ORDER BY test_ndcg_10 DESC"'
_MOST_ROWS = 500


class Format(StrEnum):
    """How rows are written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def main(
    ledger: Annotated[Path, typer.Argument(help="A ledger, such as quickstart.duckdb.")],
    sql: Annotated[str, typer.Argument(help="One statement that reads.")],
    form: Annotated[
        Format | None,
        typer.Option("--format", help="How rows are written; else as --out is called, or a table."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Ask a ledger something in SQL, read-only, also while a sweep writes to it."""
    form = Format.JSON if as_json else form
    rows = api.query(ledger, sql)
    if out is not None or form not in (None, Format.TABLE):
        text = api.write_rows(rows, form.value if form else None, out)
        if out is None:
            show_rows(text, as_json=form is Format.JSON)
        else:
            note(f"{rows.num_rows} rows in {out}")
        return
    cells = [
        [_cell(value) for value in row.values()] for row in rows.slice(0, _MOST_ROWS).to_pylist()
    ]
    _show([*map(clean, rows.column_names)], cells)
    if rows.num_rows > _MOST_ROWS:
        note(f"{_MOST_ROWS} of {rows.num_rows} rows shown; --format csv writes all of them")


def _show(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table as wide as it is; on a terminal that is narrower, one block of lines a row."""
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    natural = sum(widths) + 3 * len(widths)
    screen = console()
    if natural <= screen.width:
        screen.print(grid(columns, rows))
    elif not screen.is_terminal:
        console(width=natural).print(grid(columns, rows, width=natural))
    else:
        for number, row in enumerate(rows, 1):
            screen.print(grid([f"row {number}", ""], list(zip(columns, row, strict=True))))


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else clean(str(value))
