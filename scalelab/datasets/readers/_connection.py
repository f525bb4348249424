"""Open a DuckDB connection that reads given files and nothing else.

It spills to disk when memory runs short, and its errors become one clear line.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from scalelab.core.errors import DataError
from scalelab.core.leftovers import temporary_folder

__all__ = ["check_condition", "chunks_of", "identifier", "literal", "one", "shown", "workspace"]

_ROWS_PER_CHUNK = 1_000_000
_MEMORY_LIMIT = "1200MB"
# What DuckDB says after its first line that helps to find the place in the file.
_PLACES = (
    "Original Line",
    "Expected Number of Columns",
    "Column with name",
    "Error when",
    "Value with unterminated quote",
)
_HINTS = (
    ("unicode", 'set data.encoding, such as "latin-1" or "utf-16"'),
    (
        '\\"',
        'set data.escape = "backslash" if \\" stands for a quotation mark within a field',
    ),
    (
        "unterminated quote",
        'fix this line; the reader "table" takes data.quote = "" where quotation marks are text',
    ),
    ("CSV Error", "fix or remove this line; files put together keep one header"),
)


@contextmanager
def workspace(
    source: object, files: Iterable[Path], spill: Path | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that opens `files` alone, spills into `spill`, and names `source` in its errors.

    No statement in it can open another file, load an extension or change a setting, whatever
    data.where says. Its time zone is UTC, whatever the machine's. Raises DataError.
    """
    with temporary_folder("scalelab-spill-", spill) as folder:
        settings = {
            "memory_limit": _MEMORY_LIMIT,
            "temp_directory": str(folder),
            "threads": str(min(4, os.cpu_count() or 1)),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
        }
        connection = duckdb.connect(config=settings)  # type: ignore[arg-type]
        try:
            connection.execute("SET TimeZone = 'UTC'")
            # DuckDB would draw it on standard output, beside what people pipe elsewhere.
            connection.execute("SET enable_progress_bar = false")
            connection.execute(f"SET allowed_paths = [{', '.join(map(literal, files))}]")
            connection.execute("SET enable_external_access = false")
            connection.execute("SET lock_configuration = true")
            yield connection
        except duckdb.Error as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            parts = lines[:1] + [line for line in lines[1:] if line.startswith(_PLACES)]
            if "unicode" in str(error).lower() and "unicode" not in " ".join(parts).lower():
                parts.append("it is not written in UTF-8 (unicode)")
            text = shown("; ".join(parts) or "unreadable", 400)
            hint = next((h for word, h in _HINTS if word.lower() in text.lower()), None)
            raise DataError(
                f"{source}: {text}", hint or "check the file, its format and data.reader"
            ) from error
        finally:
            connection.close()


def one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple:
    """The only row of a query."""
    # All of it is fetched: a result left open keeps the connection from other work.
    [row] = connection.execute(query).fetchall()
    return row


def chunks_of(relation: duckdb.DuckDBPyRelation) -> Any:
    """The rows of a query as Arrow tables of a million rows, one after the other."""
    # Its name since DuckDB 1.5, and the one before.
    open_reader = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    return open_reader(_ROWS_PER_CHUNK)


def check_condition(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Raises DataError where data.where is not one expression on the columns of a row."""
    parsed, plain = (_parsed(connection, text) for text in (where, "TRUE"))
    if len(parsed) != 1 or _without_condition(parsed) != _without_condition(plain):
        raise DataError(
            f"data.where = {shown(where)!r} is not a single condition",
            'write such as "rating >= 4"',
        )
    if '"SUBQUERY"' in json.dumps(parsed):
        raise DataError(
            f"data.where = {shown(where)!r} holds a query of its own",
            "a condition sees one row at a time: compare its columns with values",
        )


def _parsed(connection: duckdb.DuckDBPyConnection, where: str) -> list[dict[str, Any]]:
    """The statements that a condition makes of a query, as DuckDB's parser sees them."""
    query = f"SELECT 1 WHERE ({where}\n)"
    (text,) = one(connection, f"SELECT json_serialize_sql({literal(query)})")
    return json.loads(text).get("statements", [])


def _without_condition(statements: list[dict[str, Any]]) -> Any:
    [statement] = statements
    return {**statement, "node": {**statement["node"], "where_clause": None}}


def identifier(name: str) -> str:
    """A column's name, quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    """A string, quoted for SQL."""
    return "'" + str(text).replace("'", "''") + "'"


def shown(text: object, longest: int = 60) -> str:
    """A value of the file, fit for a line of a message."""
    whole = "".join(c if c.isprintable() else "?" for c in str(text))
    return whole if len(whole) <= longest else whole[: longest - 3] + "..."
