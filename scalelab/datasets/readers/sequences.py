"""Read a text file with one user per line: user, then items, oldest first."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._files import opened
from scalelab.datasets.readers._options import Encoding
from scalelab.datasets.readers._rows import NO_TIME, read_rows
from scalelab.datasets.readers._words import PLACES_HINT, cut_into_words

__all__ = ["Sequences"]


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """S3-Rec's format: `user item item ...` separated by blanks; without `has_user`, items only.

    Item ids that are whole numbers dense from 0 or 1 keep their order; others are numbered as they
    appear. Lines of one interaction each are for the reader `lines`.
    """

    has_user: Annotated[
        bool,
        Field(description="whether a line begins with its user"),
    ] = True
    encoding: Encoding = "utf-8"

    def read(self, source: Location, into: Path | None = None) -> Interactions:
        """Histories in the order of their lines. Raises DataError."""
        with opened(source, self.encoding, into) as (files, connection):
            cut_into_words(connection, files, source)
            if self.has_user:
                self._check_users(connection, source)
            user, first = ("words[1]", 2) if self.has_user else ("n", 1)
            connection.execute(
                f"CREATE TEMP TABLE items_of AS SELECT n, {user} AS u, unnest(words[{first}:]) "
                "AS i FROM words"
            )
            return read_rows(
                connection,
                f"SELECT u, i, {NO_TIME} AS t FROM items_of",
                source=source,
                columns=["word 1" if self.has_user else "line", f"words from {first} on"],
                into=into,
                has_time=False,
            )

    def _check_users(self, connection, source: Location) -> None:
        query = (
            "SELECT count(*), count(DISTINCT words[1]), count(*) FILTER (len(words) < 2), "
            "min(len(words)), max(len(words)) FROM words"
        )
        [(lines, users, empty, shortest, longest)] = connection.execute(query).fetchall()
        if users < lines:
            hint = "one line per user; set data.has_user = false where lines hold items only"
            if shortest == longest:
                hint = 'set data.reader = "lines", which reads one interaction per line'
                hint += f", and {PLACES_HINT}" if longest > 4 else ""
            raise DataError(
                f"{source}: {lines} lines begin with only {users} different users", hint
            )
        if empty:
            raise DataError(f"{source}: {empty} lines hold a user and no item", "drop these lines")
