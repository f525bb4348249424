"""Unroll rows that hold a list of items, one session per row, into one row per item."""

import duckdb

from scalelab.core.errors import DataError
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import one, shown

__all__ = ["unrolled"]


def unrolled(
    connection: duckdb.DuckDBPyConnection, source: Location, has_time: bool, stated: str
) -> dict[str, str]:
    """Makes `source` of the table `given` (u, i, t, r) and returns the types of its columns.

    Lists of items are unrolled in their order, lists of times beside them; one time counts for
    all items of its row. Text that is a JSON list throughout is a list. Where "one" item a value is
    `stated`, nothing is taken for a list; where "list" is not, rows that repeat what their user had
    before are refused. Raises DataError.
    """
    types = _types(connection, "given")
    items, item_type = ("i", "")
    if stated != "one":
        items, item_type = _as_list(connection, "i", types["i"], source)
    if not item_type.endswith("]"):
        connection.execute("CREATE TEMP VIEW source AS SELECT * FROM given")
        return types
    (empty,) = one(connection, f"SELECT count(*) FILTER ({items} IS NULL) FROM given")
    if empty:
        raise DataError(
            f"{source}: {empty} rows have no list of items",
            "drop these rows, as with data.where = \"COLUMN <> ''\"",
        )
    if not stated:
        _refuse_repeated(connection, items, source)
    times, time_type = _as_list(connection, "t", types["t"], source) if has_time else ("t", "")
    time = "t"
    if time_type.endswith("]"):
        (uneven,) = one(
            connection,
            f"SELECT count(*) FILTER (len({items}) <> len({times})) FROM given",
        )
        if uneven:
            raise DataError(
                f"{source}: in {uneven} rows the list of items is not as long as that of times",
                "fix these rows",
            )
        time = f"unnest({times})"
    connection.execute(
        "CREATE TEMP TABLE unrolled AS SELECT u, i, t, row_number() OVER (ORDER BY r, n) AS r FROM "
        f"(SELECT u, unnest({items}) AS i, {time} AS t, r, "
        f"unnest(range(len({items}))) AS n FROM given) ORDER BY 4"
    )
    connection.execute("CREATE TEMP VIEW source AS SELECT * FROM unrolled")
    return _types(connection, "source")


def _refuse_repeated(connection: duckdb.DuckDBPyConnection, items: str, source: Location) -> None:
    """Raises DataError where most lists begin with the whole list before them, of the same user."""
    before = f"lag({items}) OVER (PARTITION BY u ORDER BY r)"
    pairs, repeated = one(
        connection,
        "SELECT count(*), count(*) FILTER (list_slice(l, 1, len(p)) = p) FROM "
        f"(SELECT {items} AS l, {before} AS p FROM given) WHERE len(p) > 1",
    )
    if 2 * repeated > pairs:
        raise DataError(
            f"{source}: {repeated} of {pairs} lists repeat the list before of the same user: rows "
            "seem to hold whole histories",
            'keep one row a user, the longest; or set data.items = "list" if rows are sessions',
        )


def _as_list(
    connection: duckdb.DuckDBPyConnection, column: str, kind: str, source: Location
) -> tuple[str, str]:
    """The SQL of a column and its type, a list where every value of text is written as one."""
    if kind == "VARCHAR":
        count, opened = one(
            connection,
            f"SELECT count({column}), count(*) FILTER ({column} LIKE '[%]') FROM given",
        )
        if not count or opened < count:
            return column, kind
        parsed = f"TRY_CAST(TRY_CAST({column} AS JSON) AS VARCHAR[])"
        (unread,) = one(
            connection,
            f"SELECT count(*) FILTER ({column} IS NOT NULL AND {parsed} IS NULL) FROM given",
        )
        if unread:
            [(example,)] = connection.execute(
                f"SELECT {column} FROM given WHERE {parsed} IS NULL LIMIT 1"
            ).fetchall()
            raise DataError(
                f"{source}: {unread} lists cannot be read, such as {shown(example)}",
                "write them as JSON lists",
            )
        return parsed, "VARCHAR[]"
    return column, kind


def _types(connection: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    return {name: kind for name, kind, *_ in connection.execute(f"DESCRIBE {table}").fetchall()}
