"""Run an SQL query on a ledger and print the rows."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from scalelab import api
from scalelab.cli.output import clean, console, grid, note, show_rows

__all__ = ["EXAMPLE", "OutputFormat", "main"]

EXAMPLE = 'Example: scalelab query quickstart.duckdb "FROM results ORDER BY test_ndcg_10 DESC"'
_MOST_ROWS = 500


class OutputFormat(StrEnum):
    """The format of rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def main(
    ledger: Annotated[Path, typer.Argument(help="A ledger, such as quickstart.duckdb.")],
    sql: Annotated[str, typer.Argument(help="One SQL statement that only reads.")],
    format: Annotated[
        OutputFormat | None,
        typer.Option("--format", help="The format. Default: the ending of --out, else a table."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
) -> None:
    """Query a ledger with SQL, read-only; works while a sweep writes to it."""
    format = OutputFormat.JSON if as_json else format
    rows = api.query(ledger, sql)
    if out is not None or format not in (None, OutputFormat.TABLE):
        text = api.write_rows(rows, format.value if format else None, out)
        if out is None:
            show_rows(text, as_json=format is OutputFormat.JSON)
        else:
            note(f"wrote {rows.num_rows} rows to {out}")
        return
    cells = [
        [_cell(value) for value in row.values()] for row in rows.slice(0, _MOST_ROWS).to_pylist()
    ]
    _show([*map(clean, rows.column_names)], cells)
    if rows.num_rows > _MOST_ROWS:
        note(f"{_MOST_ROWS} of {rows.num_rows} rows shown; --format csv writes all of them")


def _show(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table; where a terminal is too narrow for it, one block of lines per row."""
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
