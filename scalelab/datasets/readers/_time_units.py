"""Hold times as whole numbers of the coarsest unit that rounds none of them away."""

from dataclasses import dataclass

import duckdb

from scalelab.core.errors import DataError
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import one, shown
from scalelab.datasets.readers._time_formats import ISO

__all__ = ["HINT", "LONGEST", "SCALES", "Clock", "all_read", "clock_range", "coarsest", "unit_of"]

# Nanoseconds of each unit, the coarsest first.
SCALES = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
# 1990 to 2035 in seconds: the years of which a number is taken for a clock time.
_EARLIEST, _LATEST = 631_152_000, 2_082_758_400
LONGEST = 2**63 - 1
HINT = 'set data.time_format, such as "%d/%m/%Y %H:%M", or fix these rows'


@dataclass(frozen=True, kw_only=True)
class Clock:
    """The SQL of times as whole numbers of `unit` since 1970 in UTC; "" for numbers of no known
    unit. `read_as` says in words how the file writes them."""

    sql: str
    unit: str
    read_as: str


def clock_range(unit: str) -> tuple[int, int]:
    """The numbers from 1990 up to 2035, as times in `unit` since 1970."""
    times = SCALES["s"] // SCALES[unit]
    return _EARLIEST * times, _LATEST * times


def unit_of(lowest: float, highest: float) -> str:
    """The unit in which numbers from `lowest` to `highest` are times of 1990 to 2035, or ""."""
    for unit in SCALES:
        first, end = clock_range(unit)
        if first <= lowest and highest < end:
            return unit
    return ""


def coarsest(
    connection: duckdb.DuckDBPyConnection, nanos: str, source: Location, read_as: str
) -> Clock:
    """Nanoseconds as the coarsest unit of which all are multiples."""
    nanos = f"({nanos})"
    multiples = ", ".join(f"bool_and({nanos} % {scale} = 0)" for scale in SCALES.values())
    largest, *holds = one(connection, f"SELECT max(abs({nanos})), {multiples} FROM source")
    unit = next((u for u, held in zip(SCALES, holds, strict=True) if held), "s")
    if largest is not None and largest // SCALES[unit] > LONGEST:
        raise DataError(
            f"{source}: times so far from 1970 cannot be held in {unit}", "fix these rows"
        )
    return Clock(sql=f"CAST({nanos} // {SCALES[unit]} AS BIGINT)", unit=unit, read_as=read_as)


def all_read(connection: duckdb.DuckDBPyConnection, value: str, source: Location) -> None:
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
        f"read are seconds to nanoseconds since 1970, {ISO.example} and other formats; {HINT}",
    )
