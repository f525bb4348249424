"""Decide from all values of a time column what they mean, and round nothing away."""

import re

import duckdb

from scalelab.core.errors import DataError
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import one, shown
from scalelab.datasets.readers._time_formats import CANDIDATES, ISO, Candidate, stated
from scalelab.datasets.readers._time_numbers import DECIMAL, of_floats, of_integers, of_numbers
from scalelab.datasets.readers._time_units import HINT, Clock, all_read, coarsest

__all__ = ["time_expression"]

_INTEGERS = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "HUGEINT", "UHUGEINT",
}  # fmt: skip


def time_expression(
    connection: duckdb.DuckDBPyConnection, kind: str, source: Location, time_format: str = ""
) -> Clock:
    """How the column t of the table `source` is read, in the coarsest unit that holds all of it.

    Raises DataError where a value cannot be read, or can be read in two ways.
    """
    (count, timed) = one(connection, "SELECT count(*), count(t) FROM source")
    if timed < count and kind != "VARCHAR":
        raise DataError(f"{source}: {count - timed} of {count} rows have no time", "drop them")
    if time_format:
        if not re.search("%-?[djDcxGs]", time_format):
            raise DataError(
                f"data.time_format = {shown(time_format)!r} states no day, so that all times would "
                "be of one",
                "write date and time into one column, or set data.time to that of the date",
            )
        return _of_text(connection, source, [stated(time_format)])
    if kind in _INTEGERS:
        return of_integers(connection, "t", source)
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        nanos = "CAST(epoch_ns(t) AS HUGEINT)" if kind.endswith("_NS") else _micros(kind)
        all_read(connection, nanos, source)
        return coarsest(connection, nanos, source, f"values of type {kind}")
    if kind in ("FLOAT", "DOUBLE"):
        return of_floats(connection, kind, source)
    if kind.startswith("DECIMAL"):
        return of_numbers(connection, "CAST(t AS VARCHAR)", source)
    if kind != "VARCHAR":
        raise DataError(
            f"{source}: a column of {shown(kind)} is not a time",
            'set data.time to another column, or data.time = "order"',
        )
    return _of_text(connection, source, CANDIDATES)


def _micros(kind: str) -> str:
    stamp = "t" if kind.startswith("TIMESTAMP") else "CAST(t AS TIMESTAMP)"
    return f"CAST(epoch_us({stamp}) AS HUGEINT) * 1000"


def _of_text(
    connection: duckdb.DuckDBPyConnection, source: Location, candidates: list[Candidate]
) -> Clock:
    text = "trim(CAST(t AS VARCHAR), ' \t\r')"
    integer = "TRY_CAST(t AS BIGINT)"
    guessing = candidates is CANDIDATES
    if guessing:
        count, integers = one(
            connection,
            f"SELECT count(*), count(*) FILTER (CAST({integer} AS VARCHAR) = t) FROM source",
        )
        if integers == count:
            return of_integers(connection, integer, source)
    count, missing = one(
        connection, f"SELECT count(*), count(*) FILTER (t IS NULL OR {text} = '') FROM source"
    )
    if missing:
        raise DataError(f"{source}: {missing} of {count} rows have no time", "drop these rows")
    if guessing:
        (numbers,) = one(connection, f"SELECT count(TRY_CAST(t AS {DECIMAL})) FROM source")
        if 2 * numbers >= count:
            _refuse_rounded(connection, text, source)
            return of_numbers(connection, text, source)
    return _of_dates(connection, text, source, candidates)


def _refuse_rounded(connection: duckdb.DuckDBPyConnection, text: str, source: Location) -> None:
    """Raises DataError where spreadsheets wrote 1.6E+09, which has lost the digits of a second."""
    parts = r"^[+-]?[0-9]([.][0-9]{0,6})?E[+][0-9]{2}$"
    digits = rf"length(regexp_extract({text}, '[.]([0-9]+)', 1))"
    exponent = rf"TRY_CAST(regexp_extract({text}, '([0-9]+)$', 1) AS INTEGER)"
    rows, rounded = one(
        connection,
        f"SELECT count(*), count(*) FILTER (regexp_matches({text}, '{parts}') "
        f"AND {exponent} - {digits} > 2) FROM source",
    )
    if rounded == rows > 1:
        ((example,),) = connection.execute("SELECT t FROM source LIMIT 1").fetchall()
        raise DataError(
            f"{source}: all times are rounded, such as {shown(example)}, as spreadsheets do",
            'export all digits of the column, or set data.time = "order"',
        )


def _of_dates(
    connection: duckdb.DuckDBPyConnection, text: str, source: Location, candidates: list[Candidate]
) -> Clock:
    # A few values show which formats are worth trying on all.
    tried = ", ".join(f"count({candidate.micros(text)})" for candidate in candidates)
    some = one(connection, f"SELECT {tried} FROM (SELECT t FROM source LIMIT 2000)")
    likely = [candidate for candidate, read in zip(candidates, some, strict=True) if read]
    if not likely:
        all_read(connection, candidates[0].micros(text), source)
    counts = ", ".join(f"count({candidate.micros(text)})" for candidate in likely or candidates[:1])
    count, *read = one(connection, f"SELECT count(*), {counts} FROM source")
    whole = [candidate for candidate, number in zip(likely, read, strict=True) if number == count]
    if not whole:
        best = max(zip(read, likely, strict=True), key=lambda pair: pair[0])[1]
        all_read(connection, best.micros(text), source)
    chosen = whole[0]
    for other in whole[1:]:
        first, second = chosen.micros(text), other.micros(text)
        differ = connection.execute(
            f"SELECT {text}, make_timestamp({first})::DATE::VARCHAR, "
            f"make_timestamp({second})::DATE::VARCHAR FROM source WHERE {first} <> {second} LIMIT 1"
        ).fetchall()
        if differ:
            [(example, one_way, other_way)] = differ
            raise DataError(
                f"{source}: the time {shown(example)!r} can be {one_way} or {other_way}",
                f'state which is meant: data.time_format = "{chosen.example}" or "{other.example}"',
            )
    nanos = f"CAST({chosen.micros(text)} AS HUGEINT) * 1000"
    if chosen.splits_fractions:
        nanos += f" + {_fraction(text)}"
        (lost,) = one(
            connection,
            f"SELECT count(*) FILTER (regexp_matches({text}, '[.,][0-9]{{9}}[0-9]*[1-9]')) "
            "FROM source",
        )
        if lost:
            raise DataError(f"{source}: {lost} times are finer than a nanosecond", HINT)
    name = "ISO 8601" if chosen is ISO else chosen.example
    return coarsest(connection, nanos, source, f"text of the format {name}")


def _fraction(text: str) -> str:
    digits = f"regexp_extract({text}, ':[0-9]{{2}}[.,]([0-9]{{1,9}})', 1)"
    return f"coalesce(TRY_CAST(rpad({digits}, 9, '0') AS BIGINT), 0)"
