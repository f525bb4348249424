"""Read a text file with one interaction per line, separated by blanks or tabs, without a header."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import one, shown
from scalelab.datasets.readers._files import opened
from scalelab.datasets.readers._options import Encoding, TimeFormat
from scalelab.datasets.readers._rows import NO_TIME, read_rows

__all__ = ["Lines"]

# The places of user, item and time from 1, by the number of words in a line.
_PLACES = {2: (1, 2, 0), 3: (1, 2, 3), 4: (1, 2, 4)}
_FORMATS = "`user item`, `user item time` or `user item rating time`"


@dataclass(frozen=True, kw_only=True)
class Lines:
    """`user item`, `user item time` or `user item rating time`, the format of SASRec's files.

    `time` is the place of the time from 1, 0 takes it by the number of words; "order" takes the
    order of the file. `time_format` and `encoding` are those of the reader `table`.
    """

    time: Annotated[
        str | int,
        Field(
            description="word that is the time, from 1; 0: by their number; order: as in the file"
        ),
    ] = 0
    time_format: TimeFormat = ""
    encoding: Encoding = "utf-8"

    def read(self, source: Location, into: Path | None = None) -> Interactions:
        """Rows sorted by user, time and place in the file. Raises DataError."""
        with opened(source, self.encoding, into) as (files, connection):
            connection.execute(
                "CREATE TEMP TABLE words AS SELECT row_number() OVER () AS n, line, "
                f"regexp_split_to_array(trim(line, ' \t\r'), '\\s+') AS words FROM {files.lines} "
                "WHERE trim(line, ' \t\r') <> ''"
            )
            (rows, width) = one(connection, "SELECT count(*), mode(len(words)) FROM words")
            if not rows:
                raise DataError(f"{source} holds no interactions", "check the file")
            if width not in _PLACES:
                raise DataError(
                    f"{source}: lines of {width} words cannot be read as interactions",
                    f'it reads {_FORMATS}; data.reader = "sequences" reads one user per line',
                )
            odd = connection.execute(
                f"SELECT line, n FROM words WHERE len(words) <> {width} ORDER BY n LIMIT 1"
            ).fetchall()
            if odd:
                [(line, row)] = odd
                raise DataError(
                    f"{source}: row {row} should have {width} words like others: {shown(line)!r}",
                    "fix or remove this line",
                )
            user, item, time = _PLACES[width]
            time = self._time(time, width)
            return read_rows(
                connection,
                f"SELECT words[{user}] AS u, words[{item}] AS i, "
                f"{f'words[{time}]' if time else NO_TIME} AS t FROM words",
                source=source,
                into=into,
                has_time=bool(time),
                time_format=self.time_format,
            )

    def _time(self, usual: int, width: int) -> int:
        place = str(self.time)
        if place == "order":
            return 0
        if not place.isdigit() or int(place) > width:
            raise DataError(f"data.time = {place!r} is not a place in a line of {width} words",
                            'write a place from 1, or "order"')  # fmt: skip
        return int(place) or usual
