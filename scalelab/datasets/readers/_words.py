"""Cut the lines of a text file into words, and refuse lines whose words are something else."""

import duckdb

from scalelab.core.errors import DataError
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import one, shown
from scalelab.datasets.readers._files import Files

__all__ = ["cut_into_words"]

_COMMENTS = ("#", "%", "//")


def cut_into_words(connection: duckdb.DuckDBPyConnection, files: Files, source: Location) -> None:
    """Makes the table `words` (n, line, words) of lines that are not blank. Raises DataError."""
    connection.execute(
        "CREATE TEMP TABLE words AS SELECT row_number() OVER () AS n, line, "
        f"regexp_split_to_array(trim(line, ' \t\r'), '\\s+') AS words FROM {files.lines} "
        "WHERE trim(line, ' \t\r') <> ''"
    )
    _refuse_comment(connection, source)
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
                "separate user, items and time by blanks or tabs; read a table of columns as .csv",
            )
