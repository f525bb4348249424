"""Read a time whose date stands in one column and whose time of day in another."""

import re

import duckdb

from scalelab.core.errors import DataError
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import identifier, literal, one
from scalelab.datasets.readers._table_formats import TableFormat

__all__ = [
    "hint_of_two",
    "joined_time",
    "refuse_split_words",
    "refuse_times_of_day",
    "time_of_day_columns",
]

_OF_DAY = r"([01]?[0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.,][0-9]+)?)?( ?[AaPp]\.?[Mm]\.?)?"
_DATE = r"[0-9]{4}[-/.][0-9]{1,2}[-/.][0-9]{1,2}|[0-9]{1,2}[-/.][0-9]{1,2}[-/.]([0-9]{2}){1,2}"
_HOUR, _HOUR_NAME = "[01]?[0-9]|2[0-3]", r"(.*[^a-z])?hour(_of_day)?"
# Words in the names of columns that may hold a time of day; spans of time are rarely called so.
_WORDS = ("time", "clock", "hour")


def joined_time(
    connection: duckdb.DuckDBPyConnection, table: TableFormat, columns: tuple[str, str]
) -> str:
    """The SQL of a date and a time of day, in this order, as one text; NULL where one is missing.

    A TIMESTAMP at midnight is a date.
    """
    kinds = {} if table.is_text else table.types(connection)
    date, clock = (_text(name, kinds.get(name, "")) for name in columns)
    return f"{date} || ' ' || {clock}"


def _text(name: str, kind: str) -> str:
    column = identifier(name)
    text = f"nullif(trim(CAST({column} AS VARCHAR), ' \t\r'), '')"
    if not kind.startswith("TIMESTAMP"):
        return text
    day = f"CAST(CAST({column} AS DATE) AS VARCHAR)"
    return f"CASE WHEN {column} = date_trunc('day', {column}) THEN {day} ELSE {text} END"


def hint_of_two(date: str, clock: str) -> str:
    """What to set for two columns, in a file and on a command line."""
    value = f'["{date}", "{clock}"]'
    return f"set data.time = {value} (on a command line: --set 'data.time={value}')"


def time_of_day_columns(
    connection: duckdb.DuckDBPyConnection,
    table: TableFormat,
    others: list[str],
    *,
    any_name: bool = False,
) -> list[str]:
    """Those of the columns `others` that hold times of day, by their name and their values."""
    named = [n for n in others if any_name or any(word in n.lower() for word in _WORDS)]
    found = [name for name in named if _holds(connection, table, name, _OF_DAY)]
    hours = [name for name in others if re.fullmatch(_HOUR_NAME, name.lower())]
    return found + [name for name in hours if _holds(connection, table, name, _HOUR)]


def refuse_times_of_day(
    connection: duckdb.DuckDBPyConnection, table: TableFormat, time: str, source: Location
) -> None:
    """Raises DataError where the column of times holds times of day without a date."""
    if not _holds(connection, table, time, _OF_DAY):
        return
    others = (name for name in table.names if name != time)
    date = next((n for n in others if _holds(connection, table, n, _DATE)), None)
    if date is None and not table.is_text:
        return  # its type says it
    raise DataError(
        f"{source}: {time!r} holds a time of day without a date",
        f"{hint_of_two(date or 'DATE', time)}"
        + ("" if date else ', DATE being the column of the date; or data.time = "order"'),
    )


def refuse_split_words(connection: duckdb.DuckDBPyConnection, time: int, source: Location) -> None:
    """Raises DataError where word `time` of lines is a time of day, and the one before a date."""
    whole = [f"bool_and(regexp_full_match(words[{n}], {literal(pattern)}))"
             for n, pattern in ((time - 1, _DATE), (time, _OF_DAY))]  # fmt: skip
    if all(one(connection, f"SELECT {', '.join(whole)} FROM words")):
        raise DataError(
            f"{source}: word {time} of each line is a time of day, and word {time - 1} a date",
            f"set data.user = 1, data.item = 2 and data.time = [{time - 1}, {time}] "
            f"(on a command line: --set 'data.time=[{time - 1}, {time}]')",
        )


def _holds(
    connection: duckdb.DuckDBPyConnection, table: TableFormat, name: str, pattern: str
) -> bool:
    """Whether all values that are there are so; a first look at a few spares most columns."""
    text = f"trim(CAST({identifier(name)} AS VARCHAR), ' \t\r')"
    for limit in (" LIMIT 1000", ""):
        some, matching = one(
            connection,
            f"SELECT count(*), count(*) FILTER (regexp_full_match(v, {literal(pattern)})) FROM "
            f"(SELECT {text} AS v FROM {table.scan}{limit}) WHERE v <> ''",
        )
        if not some or matching < some:
            return False
    return True
