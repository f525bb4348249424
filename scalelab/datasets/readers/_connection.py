"""Open a DuckDB connection that spills to disk, and turn its errors into one clear line."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from scalelab.core.errors import DataError

__all__ = ["check_condition", "identifier", "literal", "one", "shown", "workspace"]

_MEMORY_LIMIT = "1200MB"
# What DuckDB says after its first line that helps to find the place in the file.
_PLACES = ("Original Line", "Expected Number of Columns", "Column with name", "Error when")
_HINTS = (
    ("unicode", 'set data.encoding, such as "latin-1" or "utf-16"'),
    ("CSV Error", "fix or remove this line; files put together keep one header"),
)


@contextmanager
def workspace(source: object, spill: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that spills into `spill` when memory runs short; its errors become DataError.

    Its time zone is UTC, whatever the machine's.
    """
    with tempfile.TemporaryDirectory(prefix="scalelab-", dir=spill) as folder:
        settings = {
            "memory_limit": _MEMORY_LIMIT,
            "temp_directory": folder,
            "threads": str(min(4, os.cpu_count() or 1)),
        }
        connection = duckdb.connect(config=settings)  # type: ignore[arg-type]
        try:
            connection.execute("SET TimeZone = 'UTC'")
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


def check_condition(connection: duckdb.DuckDBPyConnection, where: str) -> None:
    """Raises DataError where data.where is more than one expression."""
    if len(connection.extract_statements(f"SELECT 1 WHERE ({where}\n)")) != 1:
        raise DataError(
            f"data.where = {shown(where)!r} is not a single condition",
            'write such as "rating >= 4"',
        )


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
