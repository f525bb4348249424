"""Decide from all values of a time column what they mean, and round nothing away."""

from dataclasses import dataclass

import duckdb

from scalelab.core.errors import DataError
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import one, shown
from scalelab.datasets.readers._time_formats import CANDIDATES, ISO, Candidate, stated

__all__ = ["SCALES", "Clock", "time_expression", "unit_of"]

_INTEGERS = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "HUGEINT", "UHUGEINT",
}  # fmt: skip
# Nanoseconds of each unit, the coarsest first.
SCALES = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# 1990 to 2035 in seconds: the years of which a number is taken for a clock time.
_EARLIEST, _LATEST = 631_152_000, 2_082_758_400
_LONGEST = 2**63 - 1
_DECIMAL = "DECIMAL(38, 12)"
_NUMBERS = {
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
    "": "numbers of no known unit",
}
_HINT = 'set data.time_format, such as "%d/%m/%Y %H:%M", or fix these rows'


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The SQL of times as whole numbers of `unit` since 1970 in UTC; "" for numbers of no known
    unit. `read_as` says in words how the file writes them."""

    sql: str
    unit: str
    read_as: str


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
        return _of_text(connection, source, [stated(time_format)])
    if kind in _INTEGERS:
        return _of_integers(connection, "t", source)
    if kind.startswith("TIMESTAMP") or kind == "DATE":
        nanos = "CAST(epoch_ns(t) AS HUGEINT)" if kind == "TIMESTAMP_NS" else _micros(kind)
        _all_read(connection, nanos, source)
        return _coarsest(connection, nanos, source, f"values of type {kind}")
    if kind in ("FLOAT", "DOUBLE"):
        return _of_floats(connection, kind, source)
    if kind.startswith("DECIMAL"):
        return _of_numbers(connection, "CAST(t AS VARCHAR)", source)
    if kind != "VARCHAR":
        raise DataError(f"{source}: a column of {shown(kind)} is not a time", "set data.time")
    return _of_text(connection, source, CANDIDATES)


def _micros(kind: str) -> str:
    stamp = "t" if kind.startswith("TIMESTAMP") else "CAST(t AS TIMESTAMP)"
    return f"CAST(epoch_us({stamp}) AS HUGEINT) * 1000"


def unit_of(lowest: float, highest: float) -> str:
    """The unit in which numbers from `lowest` to `highest` are times of 1990 to 2035, or ""."""
    for unit in SCALES:
        times = SCALES["s"] // SCALES[unit]
        if _EARLIEST * times <= lowest and highest < _LATEST * times:
            return unit
    return ""


def _of_integers(connection: duckdb.DuckDBPyConnection, number: str, source: Location) -> Clock:
    lowest, highest = one(connection, f"SELECT min({number}), max({number}) FROM source")
    if lowest is None:
        return Clock(sql=f"CAST({number} AS BIGINT)", unit="", read_as=_NUMBERS[""])
    if not -_LONGEST <= lowest <= highest <= _LONGEST:
        raise DataError(f"{source}: times reach from {lowest} to {highest}", "scale them")
    unit = unit_of(lowest, highest)
    units = [unit_of(value, value) for value in (lowest, highest)]
    if not unit and all(units):
        raise DataError(
            f"{source}: times are in {units[0]} and in {units[1]}: from {lowest} to {highest}",
            "write them in one unit",
        )
    if not unit:
        for digits, pattern in ((8, "%Y%m%d"), (14, "%Y%m%d%H%M%S")):
            if 1990 * 10 ** (digits - 4) < lowest <= highest < 2036 * 10 ** (digits - 4):
                stamp = f"try_strptime(CAST({number} AS VARCHAR), '{pattern}')"
                (unread,) = one(connection, f"SELECT count(*) FILTER ({stamp} IS NULL) FROM source")
                if not unread:
                    nanos = f"CAST(epoch_us({stamp}) AS HUGEINT) * 1000"
                    return _coarsest(connection, nanos, source, f"numbers of the format {pattern}")
    if unit in ("", "s"):
        return Clock(sql=f"CAST({number} AS BIGINT)", unit=unit, read_as=_NUMBERS[unit])
    nanos = f"CAST({number} AS HUGEINT) * {SCALES[unit]}"
    return _coarsest(connection, nanos, source, _NUMBERS[unit])


def _of_floats(connection: duckdb.DuckDBPyConnection, kind: str, source: Location) -> Clock:
    """Whole numbers as they are, to the last digit; others by the digits that distinguish them."""
    finite = "CASE WHEN isfinite(t) THEN t END"
    _all_read(connection, finite, source)
    fractions, largest = one(
        connection, "SELECT count(*) FILTER (t <> trunc(t)), max(abs(t)) FROM source"
    )
    if kind == "FLOAT" and largest >= 2**24:
        raise DataError(
            f"{source}: times up to {largest:.0f} are 32-bit floats, which are rounded already",
            'write them as 64-bit numbers, or set data.time = "order"',
        )
    if fractions or largest >= _LONGEST:
        return _of_numbers(connection, "CAST(t AS VARCHAR)", source)
    return _of_integers(connection, "CAST(t AS BIGINT)", source)


def _of_numbers(connection: duckdb.DuckDBPyConnection, text: str, source: Location) -> Clock:
    """Decimal numbers, taken by their digits; without a known unit they count as seconds."""
    value = f"TRY_CAST({text} AS {_DECIMAL})"
    real = f"TRY_CAST({text} AS DOUBLE)"
    _all_read(connection, value, source)
    lowest, highest = one(connection, f"SELECT min({real}), max({real}) FROM source")
    unit = unit_of(lowest, highest)
    whole = f"CAST(trunc({value}) AS HUGEINT)"
    rest = f"CAST({value} - trunc({value}) AS DECIMAL(38, 12))"
    scale = SCALES[unit or "s"]
    (fractions,) = one(connection, f"SELECT count(*) FILTER ({rest} <> 0) FROM source")
    if not fractions:
        return _of_integers(connection, f"TRY_CAST({whole} AS BIGINT)", source)
    # A number of more digits than these would be rounded.
    finer = f"{rest} * {scale} <> trunc({rest} * {scale}) OR {_digits(text)} > 12"
    (lost,) = one(connection, f"SELECT count(*) FILTER ({finer}) FROM source")
    if lost:
        [(example,)] = connection.execute(f"SELECT t FROM source WHERE {finer} LIMIT 1").fetchall()
        raise DataError(
            f"{source}: {lost} times are finer than a nanosecond, such as {shown(example)}",
            'scale them, or set data.time = "order" if the file is in order of time',
        )
    nanos = f"{whole} * {scale} + CAST({rest} * {scale} AS HUGEINT)"
    read_as = _NUMBERS[unit] if unit else f"{_NUMBERS['']}, taken as seconds"
    return _coarsest(connection, nanos, source, read_as)


def _digits(text: str) -> str:
    """How many digits stand after the point, zeros at the end left out."""
    fraction = f"regexp_extract({text}, '\\.([0-9]*?)0*([eE]|$)', 1)"
    exponent = f"coalesce(TRY_CAST(regexp_extract({text}, '[eE](.*)$', 1) AS INTEGER), 0)"
    return f"(length({fraction}) - {exponent})"


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
            return _of_integers(connection, integer, source)
    count, missing = one(
        connection, f"SELECT count(*), count(*) FILTER (t IS NULL OR {text} = '') FROM source"
    )
    if missing:
        raise DataError(f"{source}: {missing} of {count} rows have no time", "drop these rows")
    if guessing:
        (numbers,) = one(connection, f"SELECT count(TRY_CAST(t AS {_DECIMAL})) FROM source")
        if 2 * numbers >= count:
            return _of_numbers(connection, text, source)
    return _of_dates(connection, text, source, candidates)


def _of_dates(
    connection: duckdb.DuckDBPyConnection, text: str, source: Location, candidates: list[Candidate]
) -> Clock:
    # A few values show which formats are worth trying on all.
    tried = ", ".join(f"count({candidate.micros(text)})" for candidate in candidates)
    some = one(connection, f"SELECT {tried} FROM (SELECT t FROM source LIMIT 2000)")
    likely = [candidate for candidate, read in zip(candidates, some, strict=True) if read]
    if not likely:
        _all_read(connection, candidates[0].micros(text), source)
    counts = ", ".join(f"count({candidate.micros(text)})" for candidate in likely or candidates[:1])
    count, *read = one(connection, f"SELECT count(*), {counts} FROM source")
    whole = [candidate for candidate, number in zip(likely, read, strict=True) if number == count]
    if not whole:
        best = max(zip(read, likely, strict=True), key=lambda pair: pair[0])[1]
        _all_read(connection, best.micros(text), source)
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
            raise DataError(f"{source}: {lost} times are finer than a nanosecond", _HINT)
    name = "ISO 8601" if chosen is ISO else chosen.example
    return _coarsest(connection, nanos, source, f"text of the format {name}")


def _fraction(text: str) -> str:
    digits = f"regexp_extract({text}, ':[0-9]{{2}}[.,]([0-9]{{1,9}})', 1)"
    return f"coalesce(TRY_CAST(rpad({digits}, 9, '0') AS BIGINT), 0)"


def _coarsest(
    connection: duckdb.DuckDBPyConnection, nanos: str, source: Location, read_as: str
) -> Clock:
    """Nanoseconds as the coarsest unit of which all are multiples."""
    nanos = f"({nanos})"
    multiples = ", ".join(f"bool_and({nanos} % {scale} = 0)" for scale in SCALES.values())
    largest, *holds = one(connection, f"SELECT max(abs({nanos})), {multiples} FROM source")
    unit = next((u for u, held in zip(SCALES, holds, strict=True) if held), "s")
    if largest is not None and largest // SCALES[unit] > _LONGEST:
        raise DataError(
            f"{source}: times so far from 1970 cannot be held in {unit}", "fix these rows"
        )
    return Clock(sql=f"CAST({nanos} // {SCALES[unit]} AS BIGINT)", unit=unit, read_as=read_as)


def _all_read(connection: duckdb.DuckDBPyConnection, value: str, source: Location) -> None:
    """Raises DataError naming the first time of which `value` is NULL."""
    count, bad = one(connection, f"SELECT count(*), count(*) FILTER ({value} IS NULL) FROM source")
    if not bad:
        return
    [(example, row)] = connection.execute(
        f"SELECT t, r FROM source WHERE {value} IS NULL ORDER BY r LIMIT 1"
    ).fetchall()
    raise DataError(
        f"{source}: {'all' if bad == count else bad} times cannot be read, the first is "
        f"{shown(example)!r} in row {row}",
        f"read are seconds to nanoseconds since 1970, {ISO.example} and other formats; {_HINT}",
    )
