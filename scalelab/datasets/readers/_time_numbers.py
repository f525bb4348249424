"""Read times that are numbers: seconds to nanoseconds, dates of eight digits, fractions."""

from itertools import pairwise

import duckdb

from scalelab.core.errors import DataError
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import one, shown
from scalelab.datasets.readers._time_units import (
    LONGEST,
    SCALES,
    Clock,
    all_read,
    clock_range,
    coarsest,
    unit_of,
)

__all__ = ["DECIMAL", "UNKNOWN", "of_floats", "of_integers", "of_numbers"]

DECIMAL = "DECIMAL(38, 12)"
UNKNOWN = "numbers of no known unit"
_NUMBERS = {
    "s": "seconds since 1970",
    "ms": "milliseconds since 1970",
    "us": "microseconds since 1970",
    "ns": "nanoseconds since 1970",
    "": UNKNOWN,
}

# 1990 to 2035 in the days of spreadsheets, and the day on which 1970 begins.
_SHEET_DAYS = (32_874, 49_675)
_SHEET_1970 = 25_569
# Dates written as one number, by how many digits they have.
_DATES = {
    8: "%Y%m%d",
    10: "%Y%m%d%H",
    12: "%Y%m%d%H%M",
    14: "%Y%m%d%H%M%S",
    17: "%Y%m%d%H%M%S%g",
}


def of_integers(connection: duckdb.DuckDBPyConnection, number: str, source: Location) -> Clock:
    """Whole numbers, each of them readable; SQL of another type than BIGINT may exceed 64 bits."""
    lowest, highest = one(connection, f"SELECT min({number}), max({number}) FROM source")
    if not -LONGEST <= lowest <= highest <= LONGEST:
        raise DataError(
            f"{source}: times reach from {lowest} to {highest}",
            'divide them by 1000, or set data.time = "order"',
        )
    unit = unit_of(lowest, highest)
    if _are_sheet_days(lowest, highest):
        return _of_sheet_days(connection, number, source)
    if not unit:
        _refuse_mixed(connection, number, source)
    for digits, pattern in _DATES.items():
        lowest_date, highest_date = (year * 10 ** (digits - 4) for year in (1990, 2036))
        if lowest_date < lowest <= highest < highest_date:
            clock = _of_packed_dates(connection, number, pattern, source, maybe=bool(unit))
            if clock is not None:
                return clock
    if unit in ("", "s"):
        return Clock(sql=f"CAST({number} AS BIGINT)", unit=unit, read_as=_NUMBERS[unit])
    nanos = f"CAST({number} AS HUGEINT) * {SCALES[unit]}"
    return coarsest(connection, nanos, source, _NUMBERS[unit])


def _are_sheet_days(lowest: float, highest: float) -> bool:
    """Whether numbers are days as spreadsheets count them: 44562.5 is noon of 2022-01-01."""
    return _SHEET_DAYS[0] <= lowest and highest < _SHEET_DAYS[1]


def _of_sheet_days(connection: duckdb.DuckDBPyConnection, number: str, source: Location) -> Clock:
    # Spreadsheets hold milliseconds; what a day's fraction says beyond them is its rounding.
    millis = f"CAST(round((CAST({number} AS DOUBLE) - {_SHEET_1970}) * 86400000) AS HUGEINT)"
    read_as = "days since 1899-12-30, as spreadsheets write dates"
    return coarsest(connection, f"{millis} * 1000000", source, read_as)


def _of_packed_dates(
    connection: duckdb.DuckDBPyConnection,
    number: str,
    pattern: str,
    source: Location,
    *,
    maybe: bool,
) -> Clock | None:
    """Numbers such as 20200131; None where most are not dates, or `maybe` and any is not."""
    stamp = f"try_strptime(CAST({number} AS VARCHAR), '{pattern}')"
    count, dates = one(connection, f"SELECT count(*), count({stamp}) FROM source")
    if 2 * dates < count or (maybe and dates < count):
        return None
    all_read(connection, stamp, source)
    nanos = f"CAST(epoch_us({stamp}) AS HUGEINT) * 1000"
    return coarsest(connection, nanos, source, f"numbers of the format {pattern}")


def _refuse_mixed(connection: duckdb.DuckDBPyConnection, number: str, source: Location) -> None:
    """Raises DataError where numbers are times in several units, whatever else stands among them.

    Counters and spans of time have values between the units as well.
    """
    real = f"TRY_CAST({number} AS DOUBLE)"
    bounds = [limit for unit in SCALES for limit in clock_range(unit)]
    spans = ", ".join(
        f"count(*) FILTER ({real} >= {low} AND {real} < {high}), min({real}) FILTER ({real} >= "
        f"{low} AND {real} < {high})"
        for low, high in pairwise(bounds)
    )
    found = one(connection, f"SELECT {spans} FROM source")
    counts, examples = found[::2], found[1::2]
    held = [place for place in range(0, len(counts), 2) if counts[place]]
    if len(held) < 2:
        return
    first, last = held[0], held[-1]
    if 10 * sum(counts[first + 1 : last : 2]) > sum(counts[place] for place in held):
        return
    units = list(SCALES)
    seen = " and ".join(f"in {units[place // 2]}" for place in held)
    rows = " and ".join(f"{examples[place]:.0f} ({counts[place]} rows)" for place in held)
    raise DataError(f"{source}: times are {seen}, such as {rows}", "write them in one unit")


def of_floats(connection: duckdb.DuckDBPyConnection, kind: str, source: Location) -> Clock:
    """Whole numbers as they are, to the last digit; others by the digits that distinguish them."""
    finite = "CASE WHEN isfinite(t) THEN t END"
    all_read(connection, finite, source)
    fractions, largest = one(
        connection, "SELECT count(*) FILTER (t <> trunc(t)), max(abs(t)) FROM source"
    )
    if kind == "FLOAT" and largest >= 2**24:
        raise DataError(
            f"{source}: times up to {largest:.0f} are 32-bit floats, which are rounded already",
            'write them as 64-bit numbers, or set data.time = "order"',
        )
    if fractions or largest >= LONGEST:
        return of_numbers(connection, "CAST(t AS VARCHAR)", source)
    return of_integers(connection, "CAST(t AS BIGINT)", source)


def of_numbers(connection: duckdb.DuckDBPyConnection, text: str, source: Location) -> Clock:
    """Decimal numbers, taken by their digits; without a known unit they count as seconds."""
    value = f"TRY_CAST({text} AS {DECIMAL})"
    real = f"TRY_CAST({text} AS DOUBLE)"
    all_read(connection, value, source)
    lowest, highest = one(connection, f"SELECT min({real}), max({real}) FROM source")
    if _are_sheet_days(lowest, highest):
        return _of_sheet_days(connection, real, source)
    unit = unit_of(lowest, highest)
    whole = f"CAST(trunc({value}) AS HUGEINT)"
    rest = f"CAST({value} - trunc({value}) AS DECIMAL(38, 12))"
    scale = SCALES[unit or "s"]
    (fractions,) = one(connection, f"SELECT count(*) FILTER ({rest} <> 0) FROM source")
    if not fractions:
        return of_integers(connection, whole, source)
    if not unit:
        _refuse_mixed(connection, real, source)
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
    read_as = _NUMBERS[unit] if unit else f"{UNKNOWN}, taken as seconds"
    return coarsest(connection, nanos, source, read_as)


def _digits(text: str) -> str:
    """How many digits stand after the point, zeros at the end left out."""
    fraction = f"regexp_extract({text}, '\\.([0-9]*?)0*([eE]|$)', 1)"
    exponent = f"coalesce(TRY_CAST(regexp_extract({text}, '[eE](.*)$', 1) AS INTEGER), 0)"
    return f"(length({fraction}) - {exponent})"
