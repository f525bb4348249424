"""Turn a SELECT of user, item and time into sorted interactions.

DuckDB sorts, also what is larger than memory.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
from numba import njit

from scalelab.core.errors import DataError
from scalelab.datasets.arrays import ArraySink
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import chunks_of, literal, one
from scalelab.datasets.readers._digest import content_digest
from scalelab.datasets.readers._ids import id_expression
from scalelab.datasets.readers._lists import unrolled
from scalelab.datasets.readers._times import time_expression

__all__ = ["NO_TIME", "read_rows"]

# In the place of a time column: the order of the file is the order of a history.
NO_TIME = "NULL"


def read_rows(
    connection: duckdb.DuckDBPyConnection,
    select: str,
    *,
    source: Location,
    columns: Sequence[str],
    into: Path | None = None,
    stage: bool = False,
    has_time: bool = True,
    time_format: str = "",
    header: tuple[str, str] | None = None,
    items: str = "",
) -> Interactions:
    """Interactions of the rows of `select`, whose columns are named u, i and t, in file order.

    Ids and times are decided from all rows. Integer items dense from 0 or from 1 keep their order;
    all other items are numbered from 1 in the order of first appearance, and so are users whose
    ids are text. Rows of one user are sorted by time; ties keep the order of the file. `stage`
    copies rows that are slow to read twice. `columns` say where user, item and time (where there is
    one) stand in the file. `header` are the names of user and item, which no row
    repeats. `items` is that of `unrolled`. Raises DataError.
    """
    numbered = f"SELECT *, row_number() OVER () AS r FROM ({select})"
    connection.execute(f"CREATE TEMP {'TABLE' if stage else 'VIEW'} given AS {numbered}")
    if header is not None:
        _check_header(connection, header, source)
    types = unrolled(connection, source, has_time, items)
    (count,) = one(connection, "SELECT count(*) FROM source")
    if count == 0:
        raise DataError(f"{source} holds no interactions", "check the file and data.where")
    user, user_is_text = id_expression(connection, "u", types["u"], source)
    item, item_is_text = id_expression(connection, "i", types["i"], source)
    time, unit, read_as = "NULL::BIGINT", "", ""
    if has_time:
        clock = time_expression(connection, types["t"], source, time_format)
        time, unit, read_as = clock.sql, clock.unit, clock.read_as
    # A text is decoded once; numbers are cast again whenever they are looked at.
    connection.execute(
        f"CREATE TEMP {'TABLE' if stage else 'VIEW'} clean AS "
        f"SELECT {user} AS u, {item} AS i, {time} AS t, r FROM source"
    )
    if stage:
        connection.execute("DROP VIEW source; DROP TABLE given; DROP TABLE IF EXISTS unrolled")
    _check(connection, source)
    digest = content_digest(connection, has_time, unit)
    user_key, user_join = "u", ""
    if user_is_text:
        _number(connection, "u", "users")
        user_key, user_join = "users.code", " JOIN users ON clean.u = users.id"
    num_items, item_key, item_join = _items(connection, item_is_text)
    original_ids = _original_ids(connection, num_items, bool(item_join))
    query = (
        f"SELECT {user_key} AS u, CAST({item_key} AS INTEGER) AS i{', t' if has_time else ''} "
        f"FROM clean{user_join}{item_join} ORDER BY {user_key}{', t' if has_time else ''}, r"
    )
    item_ids, offsets, times, users = _stream(
        connection, query, count=count, has_time=has_time, into=into
    )
    find_user_ids = None if user_is_text else lambda: users
    if user_is_text and into is not None:
        # Millions of texts take memory that training needs: only with a folder to work in.
        names = _ids_in(connection, "users")
        find_user_ids = lambda: names  # noqa: E731
    is_order = _card_says(source) if has_time else True
    time_is_order = bool(_are_positions(times, offsets)) if is_order is None else is_order
    return Interactions(
        item_ids=item_ids,
        offsets=offsets,
        times=times,
        num_items=num_items,
        time_is_order=time_is_order,
        time_unit=unit,
        fingerprint=digest,
        dropped={},
        columns=dict(zip(("user", "item", "time"), columns, strict=False)),
        times_read_as=read_as,
        find_original_ids=lambda: original_ids,
        find_user_ids=find_user_ids,
    )


def _check_header(
    connection: duckdb.DuckDBPyConnection, header: tuple[str, str], source: Location
) -> None:
    user, item = map(literal, header)
    count, row = one(
        connection,
        f"SELECT count(*), min(r) FROM given "
        f"WHERE CAST(u AS VARCHAR) = {user} AND CAST(i AS VARCHAR) = {item}",
    )
    if row == 1:
        raise DataError(
            f"{source}: the header is not the first line, or stands there twice",
            "remove blank lines before it, and keep one",
        )
    if count:
        raise DataError(
            f"{source}: {count} rows repeat the header, the first is row {row}",
            "files put together keep one header; read parts as a folder or a glob",
        )


def _check(connection: duckdb.DuckDBPyConnection, source: Location) -> None:
    count, no_user, no_item = one(
        connection, "SELECT count(*), count(*) - count(u), count(*) - count(i) FROM clean"
    )
    for what, column, missing in (("user", "u", no_user), ("item", "i", no_item)):
        if missing:
            (row,) = one(connection, f"SELECT min(r) FROM clean WHERE {column} IS NULL")
            raise DataError(
                f"{source}: {missing} of {count} rows have no {what}, the first is row {row}",
                "drop these rows",
            )


def _items(connection: duckdb.DuckDBPyConnection, is_text: bool) -> tuple[int, str, str]:
    """Number of items, the SQL of an item's number, and the join that it needs."""
    if not is_text:
        lowest, highest, distinct = one(
            connection, "SELECT min(i), max(i), count(DISTINCT i) FROM clean"
        )
        if lowest in (0, 1) and highest - lowest + 1 == distinct:
            return distinct, f"i + {1 - lowest}", ""
    return _number(connection, "i", "items"), "items.code", " JOIN items ON clean.i = items.id"


def _original_ids(
    connection: duckdb.DuckDBPyConnection, num_items: int, numbered: bool
) -> np.ndarray:
    """The file's own ids of items 1, 2, ..."""
    if not numbered:
        (lowest,) = one(connection, "SELECT min(i) FROM clean")
        return np.arange(lowest, lowest + num_items, dtype=np.int64)
    return _ids_in(connection, "items")


def _ids_in(connection: duckdb.DuckDBPyConnection, table: str) -> np.ndarray:
    query = f"SELECT id FROM {table} ORDER BY code"
    return np.asarray(connection.execute(query).fetchnumpy()["id"])


def _number(connection: duckdb.DuckDBPyConnection, column: str, table: str) -> int:
    connection.execute(
        f"CREATE TEMP TABLE {table} AS SELECT id, row_number() OVER (ORDER BY first) AS code "
        f"FROM (SELECT {column} AS id, min(r) AS first FROM clean GROUP BY 1)"
    )
    return one(connection, f"SELECT count(*) FROM {table}")[0]


def _stream(
    connection: duckdb.DuckDBPyConnection,
    query: str,
    *,
    count: int,
    has_time: bool,
    into: Path | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Items, offsets, times, and the user of each history."""
    items = ArraySink(count, np.int32, into and into / "item_ids.npy")
    times = ArraySink(count, np.int64, into and into / "times.npy") if has_time else None
    starts: list[np.ndarray] = []
    owners: list[np.ndarray] = []
    previous, done = -1, 0
    relation = connection.sql(query)
    for chunk in chunks_of(relation):
        users = chunk.column("u").to_numpy()
        new = np.flatnonzero(users != np.concatenate([[previous], users[:-1]]))
        starts.append(new + done)
        owners.append(users[new])
        items.append(chunk.column("i").to_numpy())
        if times is not None:
            times.append(chunk.column("t").to_numpy())
        previous, done = users[-1], done + len(users)
    offsets = ArraySink(sum(map(len, starts)) + 1, np.int64, into and into / "offsets.npy")
    for part in (*starts, np.array([count])):
        offsets.append(part)
    found = None if times is None else times.finish()
    return items.finish(), offsets.finish(), found, np.concatenate(owners)


def _card_says(source: Location) -> bool | None:
    folder = source.path if source.path.is_dir() else source.path.parent
    card = folder / "card.json"
    if not card.is_file():
        return None
    try:
        stated = json.loads(card.read_text(encoding="utf-8")).get("timestamps")
    except (ValueError, AttributeError) as error:
        raise DataError(f"{card} is not a JSON object", "fix or remove it") from error
    return None if stated is None else str(stated).startswith("order")


@njit(nogil=True, cache=True)
def _are_positions(times, offsets):
    """Whether every history's times count 0, 1, 2, ... or 1, 2, 3, ..."""
    first = times[0]
    if first != 0 and first != 1:
        return False
    for user in range(len(offsets) - 1):
        for at in range(offsets[user], offsets[user + 1]):
            if times[at] != first + at - offsets[user]:
                return False
    return True
