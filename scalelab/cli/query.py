"""Run an SQL query on a ledger and print the rows."""

import shlex
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scalelab import api
from scalelab.cli.fitting import (
    fitting_columns,
    folded,
    selects_all,
    shared_values,
    with_unit,
)
from scalelab.cli.output import clean, console, grid, note, say, show_rows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["EXAMPLE", "OutputFormat", "main"]

EXAMPLE = 'Example: scalelab query quickstart.duckdb "FROM results ORDER BY test_ndcg_10 DESC"'
_MOST_ROWS = 500
# Longer values, such as a spec, are not repeated below a table.
_SHORT = 40
# So many columns of a view are not named again.
_MANY = 6


class OutputFormat(StrEnum):
    """The format of rows."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    PARQUET = "parquet"


def main(
    ledger: Annotated[Path, typer.Argument(help="A ledger, such as quickstart.duckdb.")],
    sql: Annotated[
        str,
        typer.Argument(
            help="One SQL statement that only reads. Without it: the views, tables and columns.",
            show_default=False,
        ),
    ] = "",
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
    if not sql.strip():
        _show_contents(ledger, rows.to_pylist())
        return
    _show(rows.slice(0, _MOST_ROWS), may_choose=selects_all(sql))
    if rows.num_rows > _MOST_ROWS:
        note(f"{_MOST_ROWS} of {rows.num_rows} rows shown; --format csv writes all of them")


def _show_contents(ledger: Path, rows: Sequence[dict[str, Any]]) -> None:
    """Views and tables with their columns, and two queries to begin with."""
    cells = [(row["name"], _columns_in_words(row, rows[:n])) for n, row in enumerate(rows)]
    console().print(grid(("view or table", "columns"), cells))
    command = f"scalelab query {shlex.quote(str(ledger))}"
    say(f'try:  {command} "FROM pareto_memory"')
    say(f"      {command} \"FROM best_under_budget('8GiB')\"")


def _columns_in_words(row: dict[str, Any], before: Sequence[dict[str, Any]]) -> str:
    """The names; where a view before has many of them, that view and the others."""
    own: list[str] = row["columns"]
    inside = [one for one in before if len(one["columns"]) >= _MANY and {*one["columns"]} <= {*own}]
    if not inside:
        return ", ".join(own)
    most = max(inside, key=lambda one: len(one["columns"]))
    others = [name for name in own if name not in most["columns"]]
    return ", ".join([f"those of {most['name']}", *others])


def _show(rows: "pa.Table", *, may_choose: bool) -> None:
    """Print a table. A query that names no columns gets those that differ between rows and fit;
    csv, json and parquet have all. On a terminal values have units, and where it is too narrow for
    named columns there is one block of lines per row.
    """
    screen = console()
    if not rows.num_rows:
        # Not a table of headings, which would be one very long line.
        screen.print(f"no rows; columns: {', '.join(map(clean, rows.column_names))}")
        return
    raw = list(zip(*(column.to_pylist() for column in rows.columns), strict=True))
    names = [*map(clean, rows.column_names)]
    write = with_unit if screen.is_terminal else _raw
    cells = [
        [write(name, value, names) for name, value in zip(names, row, strict=True)] for row in raw
    ]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    natural = sum(widths) + 3 * len(widths)
    if natural <= screen.width:
        screen.print(grid(names, cells))
    elif may_choose and len({*names}) == len(names):
        _show_some(names, cells)
    elif not screen.is_terminal:
        console(width=natural).print(grid(names, cells, width=natural))
    else:
        for number, row in enumerate(cells, 1):
            screen.print(grid([f"row {number}", ""], list(zip(names, row, strict=True))))


def _show_some(names: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    screen = console()
    columns = dict(zip(names, zip(*cells, strict=True), strict=True))
    chosen = fitting_columns(columns, screen.width)
    heads = [folded(name, columns[name]) for name in chosen]
    screen.print(grid(heads, list(zip(*(columns[name] for name in chosen), strict=True))))
    shared = {
        name: value for name, value in shared_values(columns).items() if 0 < len(value) <= _SHORT
    }
    if shared:
        note("same in all rows: " + ", ".join(f"{name} {value}" for name, value in shared.items()))
    hidden = [name for name in names if name not in chosen and name not in shared]
    if hidden:
        where = "name them in a SELECT, or --format csv writes all"
        note(f"{len(hidden)} columns not shown: {', '.join(hidden)}; {where}")


def _raw(name: str, value: object, columns: Sequence[str]) -> str:
    if value is None:
        return ""
    return f"{value:.6g}" if isinstance(value, float) else clean(str(value))
