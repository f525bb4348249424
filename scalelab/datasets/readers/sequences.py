"""A text file with one user a line (user, then items, oldest first) in, interactions out."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.readers._rows import NO_TIME, literal, read_rows, workspace

__all__ = ["Sequences"]


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """S3-Rec's form: `user item item ...` separated by blanks; without `has_user`, items only.

    Item ids that are whole numbers dense from 0 or 1 keep their order; others are numbered as they
    appear.
    """

    has_user: bool = True

    needs_path: ClassVar[bool] = True

    def read(self, path: Path | None, into: Path | None = None) -> Interactions:
        """Histories in the order of the lines. Raises DataError."""
        assert path is not None
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty", "check the file")
        # A delimiter that no text holds makes every line one field.
        lines = (
            f"read_csv({literal(path)}, delim = '\x01', header = false, quote = '', escape = '', "
            "auto_detect = false, columns = {'line': 'VARCHAR'}, max_line_size = 100000000)"
        )
        words = (
            "SELECT row_number() OVER () AS n, regexp_split_to_array(trim(line), '\\s+') AS words "
            f"FROM {lines} WHERE trim(line) <> ''"
        )
        first = 2 if self.has_user else 1
        select = f"SELECT n AS u, unnest(words[{first}:]) AS word FROM ({words})"
        with workspace(path, into) as connection:
            connection.execute(f"CREATE TEMP TABLE items_of AS {select}")
            checks = "count(*) FILTER (TRY_CAST(word AS BIGINT) IS NULL)"
            [(text,)] = connection.execute(f"SELECT {checks} FROM items_of").fetchall()
            item = "word" if text else "CAST(word AS BIGINT)"
            if self.has_user:
                self._check_users(connection, words, path)
            return read_rows(
                connection,
                f"SELECT u, {item} AS i, {NO_TIME} AS t FROM items_of",
                source=path,
                into=into,
            )

    def _check_users(self, connection, words: str, path: Path) -> None:
        query = (
            "SELECT count(*), count(DISTINCT words[1]), count(*) FILTER (len(words) < 2) "
            f"FROM ({words})"
        )
        [(lines, users, empty)] = connection.execute(query).fetchall()
        if users < lines:
            raise DataError(
                f"{path}: {lines} lines begin with only {users} different users",
                "one line a user; set data.has_user = false where lines hold items only",
            )
        if empty:
            raise DataError(f"{path}: {empty} lines hold a user and no item", "drop these lines")
