"""Read a text file with one interaction per line, separated by blanks or tabs, without a header."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import duckdb
from pydantic import Field

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import one, shown
from scalelab.datasets.readers._files import opened
from scalelab.datasets.readers._options import Encoding, TimeFormat
from scalelab.datasets.readers._rows import NO_TIME, read_rows
from scalelab.datasets.readers._time_units import unit_of
from scalelab.datasets.readers._words import cut_into_words

__all__ = ["Lines"]

# The places of user, item and time from 1, by the number of words in a line.
_PLACES = {2: (1, 2, 0), 3: (1, 2, 3), 4: (1, 2, 4)}
# Ratings go up to ten as a rule; times do not, but for positions in short histories.
_RATING = 10
_USERS = ("user", "uid", "session", "customer", "reviewer", "visitor")
_ITEMS = ("item", "iid", "movie", "product", "article", "asin", "track", "song", "book", "business")
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
            cut_into_words(connection, files, source)
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
            _check_header(connection, source)
            time = self._time(time, width)
            if time and str(self.time) == "0":
                _check_rating(connection, source, time)
            return read_rows(
                connection,
                f"SELECT words[{user}] AS u, words[{item}] AS i, "
                f"{f'words[{time}]' if time else NO_TIME} AS t FROM words",
                source=source,
                columns=[f"word {place}" for place in (user, item, time) if place],
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


def _check_header(connection: duckdb.DuckDBPyConnection, source: Location) -> None:
    """A first line of names would be an interaction of a user called user."""
    number = r"'-?[0-9.]+'"
    (first, rows, others) = one(
        connection,
        "SELECT min_by(words, n), count(*), "
        "count(*) FILTER (n > (SELECT min(n) FROM words) AND NOT "
        f"(regexp_full_match(words[1], {number}) AND regexp_full_match(words[2], {number}))) "
        "FROM words",
    )
    names = [re.sub("[^a-z]", "", word.lower()) for word in first[:2]]
    named = names[0].startswith(_USERS) and names[1].startswith(_ITEMS)
    # `user1 item5` is data, and so is the only line of a file, unless it has the usual names.
    differs = rows > 1 and others == 0
    if (named or differs) and not any(re.search("[0-9]", word) for word in first[:2]):
        raise DataError(
            f"{source}: the first line seems to be a header: {shown(' '.join(first))!r}",
            'remove it, or read the file with data.reader = "table" as .csv or .tsv',
        )


def _check_rating(connection: duckdb.DuckDBPyConnection, source: Location, time: int) -> None:
    """Small numbers may be ratings, and equal ones counts; either would sort each history."""
    value = f"TRY_CAST(words[{time}] AS DOUBLE)"
    (small, known, rows, lowest, highest, pairs) = one(
        connection,
        f"SELECT count(*) FILTER ({value} BETWEEN -{_RATING} AND {_RATING}), count({value}), "
        f"count(*), min({value}), max({value}), count(DISTINCT (words[1], {value})) FROM words",
    )
    hint = f'set data.time = {time} if it is the time, or data.time = "order"'
    hint = hint if time == 3 else f"set data.time = 3 if word 3 is the time; {hint}"
    if small == known == rows:
        raise DataError(
            f"{source}: word {time} of each line may be a rating, not a time: no value is above "
            f"{_RATING}",
            hint,
        )
    if known == rows and unit_of(lowest, highest) == "" and 4 * (rows - pairs) >= rows:
        raise DataError(
            f"{source}: word {time} of each line may be a rating or a count, not a time: from "
            f"{lowest:.10g} to {highest:.10g}, and {rows - pairs} of {rows} occur before in the "
            "same user",
            hint,
        )
