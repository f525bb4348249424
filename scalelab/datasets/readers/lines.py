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
from scalelab.datasets.readers._split_times import refuse_split_words
from scalelab.datasets.readers._time_numbers import UNKNOWN
from scalelab.datasets.readers._words import PLACES_HINT, cut_into_words

__all__ = ["Lines"]

# The places of user, item and time from 1, by the number of words in a line.
_PLACES = {2: (1, 2, 0), 3: (1, 2, 3), 4: (1, 2, 4)}
_USERS = ("user", "uid", "session", "customer", "reviewer", "visitor")
_ITEMS = ("item", "iid", "movie", "product", "article", "asin", "track", "song", "book", "business")
_FORMATS = "`user item`, `user item time` or `user item rating time`"


@dataclass(frozen=True, kw_only=True)
class Lines:
    """`user item`, `user item time` or `user item rating time`, the format of SASRec's files.

    `user`, `item` and `time` are places from 1, which lines of other words need; 0 takes them by
    the number of words, and a `time` of "order" the order of the file; two places of `time` are a
    date and a time of day. `time_format` and `encoding`
    are those of the reader `table`.
    """

    user: Annotated[
        int, Field(ge=0, description="word that is the user, from 1; 0: by their number")
    ] = 0
    item: Annotated[
        int, Field(ge=0, description="word that is the item, from 1; 0: by their number")
    ] = 0
    time: Annotated[
        str | int | tuple[int, ...],
        Field(
            description="word that is the time, from 1, or those of date and time of day; 0: by "
            "their number; order: as in the file"
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
            odd = connection.execute(
                f"SELECT line, n FROM words WHERE len(words) <> {width} ORDER BY n LIMIT 1"
            ).fetchall()
            if odd:
                [(line, row)] = odd
                raise DataError(
                    f"{source}: row {row} should have {width} words like others: {shown(line)!r}",
                    "fix or remove this line",
                )
            if width > 3 and str(self.time) == "0":
                refuse_split_words(connection, width, source)
            user, item, time = self._places(width, source)
            of_day = self.time[1] if isinstance(self.time, tuple) else 0
            when = f"words[{time}]" + (f" || ' ' || words[{of_day}]" if of_day else "")
            _check_header(connection, source)
            found = read_rows(
                connection,
                f"SELECT words[{user}] AS u, words[{item}] AS i, "
                f"{when if time else NO_TIME} AS t FROM words",
                source=source,
                columns=[f"word {place}" for place in (user, item, time) if place],
                into=into,
                has_time=bool(time),
                time_format=self.time_format,
            )
            if str(self.time) == "0" and found.times_read_as.startswith(UNKNOWN):
                _refuse_rating(connection, source, time)
            return found

    def _places(self, width: int, source: Location) -> tuple[int, int, int]:
        """The places of user, item and time, 0 where the order of the file is the time."""
        two = self.time if isinstance(self.time, tuple) else ()
        if two and (len(two) != 2 or not all(1 <= place <= width for place in two)):
            raise DataError(
                f"data.time = {list(two)} is not two places in a line of {width} words",
                "write those of the date and the time of day, from 1",
            )
        time = two[0] if two else self.time
        stated = {"user": str(self.user), "item": str(self.item), "time": str(time)}
        for role, place in stated.items():
            if place == "order" and role == "time":
                continue
            if not place.isdigit() or int(place) > width:
                raise DataError(
                    f"data.{role} = {place!r} is not a place in a line of {width} words",
                    "write a place from 1" + (', or "order"' if role == "time" else ""),
                )
        usual = _PLACES.get(width)
        missing = [role for role, place in stated.items() if place == "0"]
        # Whoever names one column of many has looked at them; the time is not guessed then.
        if missing and (usual is None or (usual[2] and len(missing) < 3 and "time" in missing)):
            raise DataError(
                f"{source}: in lines of {width} words, {', '.join(missing)} cannot be known",
                f'set {PLACES_HINT}, or data.time = "order"; it reads {_FORMATS} without; '
                'data.reader = "sequences" reads one user per line',
            )
        user, item, time = (
            0 if place == "order" else int(place) or (usual or (0, 0, 0))[at]
            for at, place in enumerate(stated.values())
        )
        if len({user, item, time}) < 3:
            raise DataError(
                f"{source}: user, item and time would be words {user}, {item} and {time}",
                f"set {PLACES_HINT}, each another one",
            )
        return user, item, time


def _check_header(connection: duckdb.DuckDBPyConnection, source: Location) -> None:
    """A first line of names would be an interaction of a user called user."""
    number = r"'-?[0-9.]+'"
    (first, line, rows, others) = one(
        connection,
        "SELECT min_by(words, n), min_by(line, n), count(*), "
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
            'set data.reader = "table"' if re.search("[\t,;|]", line) else "remove it",
        )


def _refuse_rating(connection: duckdb.DuckDBPyConnection, source: Location, time: int) -> None:
    """Numbers that are no times of a clock may be ratings or counts, which sort no history."""
    value = f"CAST(words[{time}] AS DOUBLE)"
    lowest, highest = one(connection, f"SELECT min({value}), max({value}) FROM words")
    hint = f'set data.time = {time} if it is the time, or data.time = "order"'
    hint = hint if time == 3 else f"set data.time = 3 if word 3 is the time; {hint}"
    raise DataError(
        f"{source}: word {time} of each line may be a rating or a count, not a time: its values "
        f"are numbers from {lowest:.10g} to {highest:.10g}",
        hint,
    )
