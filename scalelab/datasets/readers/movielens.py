"""Read a MovieLens ratings file, with `::`, tabs or commas between its fields."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import literal, shown
from scalelab.datasets.readers._files import first_lines, opened
from scalelab.datasets.readers._options import Encoding, TimeFormat
from scalelab.datasets.readers._rows import read_rows

__all__ = ["Movielens"]

_FIELDS = 4
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_NUMBER = re.compile(r"([+-]?[0-9.]+(e[+-]?[0-9]+)?)?")
_HEADERS = (("user", "userid", "user_id"), ("movie", "movieid", "movie_id", "item", "item_id"))


@dataclass(frozen=True, kw_only=True)
class Movielens:
    """ratings.dat (`user::item::rating::time`), u.data (tabs) or ratings.csv (commas, header).

    Rows with a rating below `min_rating` are left out; the default keeps all, as SASRec does.
    """

    min_rating: Annotated[
        float,
        Field(ge=0, description="rows with a lower rating are left out"),
    ] = 0.0
    time_format: TimeFormat = ""
    encoding: Encoding = "utf-8"

    def read(self, source: Location, into: Path | None = None) -> Interactions:
        """Rows sorted by user, time and place in the file. Raises DataError."""
        with opened(source, self.encoding, into) as (files, connection):
            [first, *_] = first_lines(connection, files.paths[0], 1) or [""]
            if not first:
                raise DataError(f"{source} holds no interactions", "check the file")
            delimiter = next((d for d in ("::", "\t", ",") if len(first.split(d)) == _FIELDS), None)
            if delimiter is None:
                raise DataError(
                    f"{source} is not a MovieLens ratings file: its first line is {shown(first)!r}",
                    _other_reader(first),
                )
            cells = [cell.strip(' "').lower() for cell in first.split(delimiter)]
            if _DATE.match(cells[1]):
                raise DataError(
                    f"{source} is not a MovieLens ratings file: its items would be dates such as "
                    f"{shown(cells[1])!r}",
                    'set data.reader = "sessions" for Yoochoose\'s clicks',
                )
            header = not _NUMBER.fullmatch(cells[2])
            if header and any(cells[n] not in usual for n, usual in enumerate(_HEADERS)):
                raise DataError(
                    f"{source}: the header {shown(first)!r} is not that of MovieLens",
                    'expected userId,movieId,rating,timestamp; else set data.reader = "table"',
                )
            written = first.split(delimiter) if header else [f"column {n}" for n in range(1, 5)]
            names = [written[place].strip(' "') for place in (0, 1, 3)]
            columns = "{'u': 'VARCHAR', 'i': 'VARCHAR', 'rating': 'DOUBLE', 't': 'VARCHAR'}"
            scan = (
                f"read_csv({files.sql}, delim = {literal(delimiter)}, "
                f"header = {str(header).lower()}, auto_detect = false, hive_partitioning = false, "
                f"columns = {columns})"
            )
            where = f" WHERE rating >= {float(self.min_rating)!r}" if self.min_rating else ""
            return read_rows(
                connection,
                f"SELECT u, i, t FROM {scan}{where}",
                source=source,
                columns=names,
                into=into,
                stage=True,
                time_format=self.time_format,
            )


def _other_reader(line: str) -> str:
    """Which reader may read a file that begins with this line."""
    cells = max((line.split(mark) for mark in "\t,;|"), key=len)
    if len(cells) > 1:
        hint = 'set data.reader = "table"'
        if any(_NUMBER.fullmatch(cell.strip(' "')) for cell in cells):
            hint += ", data.header = false and data.user, data.item, data.time to places from 1"
        return hint
    if len(line.split()) > 1:
        return 'set data.reader = "lines"'
    return "expected user::item::rating::time, or the same with tabs or commas"
