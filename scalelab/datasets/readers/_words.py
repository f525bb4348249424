"""Cut the lines of a text file into words, and refuse lines whose words are something else."""

import duckdb

from scalelab.core.errors import DataError
from scalelab.core.other_files import is_netflix, netflix_error
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import one, shown
from scalelab.datasets.readers._files import Files

__all__ = ["PLACES_HINT", "cut_into_words"]

# What to do with a file of columns that have no names.
PLACES_HINT = "data.user, data.item, data.time to places from 1"

_HINT = (
    "separate user, items and time by blanks or tabs; a table of columns is read with "
    f'data.reader = "table", and without a header with data.header = false: {PLACES_HINT}'
)
_COMMENTS = ("#", "%", "//")


def cut_into_words(connection: duckdb.DuckDBPyConnection, files: Files, source: Location) -> None:
    """Makes the table `words` (n, line, words) of lines that are not blank. Raises DataError."""
    connection.execute(
        "CREATE TEMP TABLE words AS SELECT row_number() OVER () AS n, line, "
        f"regexp_split_to_array(trim(line, ' \t\r'), '\\s+') AS words FROM {files.lines} "
        "WHERE trim(line, ' \t\r') <> ''"
    )
    _refuse_comment(connection, source)
    _refuse_columns(connection, source)
    _refuse_netflix(connection, source)
    _refuse_joined(connection, source)


def _refuse_comment(connection: duckdb.DuckDBPyConnection, source: Location) -> None:
    """A first line like no other would be a user called #."""
    begins = " OR ".join(f"starts_with(words[1], '{sign}')" for sign in _COMMENTS)
    rows, comments, first, line = one(
        connection,
        f"SELECT count(*), count(*) FILTER ({begins}), bool_or({begins}) FILTER (n = 1), "
        "min_by(line, n) FROM words",
    )
    if first and comments < rows:
        raise DataError(
            f"{source}: the first line seems to be a comment: {shown(line)!r}", "remove it"
        )


def _refuse_columns(connection: duckdb.DuckDBPyConnection, source: Location) -> None:
    """Tabs between columns of which some hold blanks would make a word of each part of a date."""
    fields = "len(string_split(trim(line, ' \r'), '\t'))"
    fewest, most, blanks, line = one(
        connection,
        f"SELECT coalesce(min({fields}), 0), max({fields}), bool_or(len(words) > {fields}), "
        f"min_by(line, n) FILTER (len(words) > {fields}) FROM words",
    )
    # Of two columns the second may hold all items of a user.
    if fewest == most > 2 and blanks:
        raise DataError(
            f"{source} has {most} columns between tabs, and some hold blanks: {shown(line)!r}",
            f'set data.reader = "table", data.header = false and {PLACES_HINT}',
        )


def _refuse_joined(connection: duckdb.DuckDBPyConnection, source: Location) -> None:
    """Fields between commas would be one word, and `10:5` an item of its own for each rating."""
    for pattern, what in (
        ("[,;|].|[,;|]$", "commas, semicolons or |"),
        ("^[0-9]+:[0-9.]+$", "a colon between two numbers"),
    ):
        rows, joined, line = one(
            connection,
            "SELECT count(*), count(*) FILTER (joined), min_by(line, n) FILTER (joined) FROM "
            "(SELECT n, line, len(list_filter(words, lambda word: "
            f"regexp_matches(word, '{pattern}'))) > 0 AS joined FROM words)",
        )
        if 2 * joined > rows:
            raise DataError(
                f"{source}: {joined} of {rows} lines have {what} in their words: {shown(line)!r}",
                _HINT,
            )


def _refuse_netflix(connection: duckdb.DuckDBPyConnection, source: Location) -> None:
    first = connection.execute("SELECT line FROM words ORDER BY n LIMIT 2").fetchall()
    if is_netflix([line for (line,) in first]):
        raise netflix_error(source, source.parts)
