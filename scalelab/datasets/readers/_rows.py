"""A SELECT of user, item and time in, sorted interactions out; DuckDB sorts, beyond memory."""

import gzip
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import duckdb
import numpy as np
from numba import njit

from scalelab.core.errors import DataError
from scalelab.datasets._arrays import ArraySink
from scalelab.datasets.interactions import Interactions

__all__ = [
    "NO_TIME",
    "check_columns",
    "identifier",
    "literal",
    "open_text",
    "read_rows",
    "workspace",
]

# In the place of a time column: the order of the file is the order of a history.
NO_TIME = "NULL::BIGINT"
_INTEGERS = {"TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER"}
_MEMORY_LIMIT = "1200MB"
_ROWS_PER_CHUNK = 1_000_000


@contextmanager
def workspace(source: Path, spill: Path | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that spills into `spill` when memory runs short; its errors become DataError."""
    with tempfile.TemporaryDirectory(prefix="scalelab-", dir=spill) as folder:
        settings = {
            "memory_limit": _MEMORY_LIMIT,
            "temp_directory": folder,
            "threads": str(min(4, os.cpu_count() or 1)),
        }
        connection = duckdb.connect(config=settings)  # type: ignore[arg-type]
        try:
            yield connection
        except duckdb.Error as error:
            first_line = next((line for line in str(error).splitlines() if line), "unreadable")
            raise DataError(
                f"{source}: {first_line}", "check the file, its form and data.reader"
            ) from error
        finally:
            connection.close()


def read_rows(
    connection: duckdb.DuckDBPyConnection,
    select: str,
    *,
    source: Path,
    into: Path | None = None,
    stage: bool = False,
    time_is_order: bool | None = None,
) -> Interactions:
    """Interactions of the rows of `select`, whose columns are named u, i and t, in file order.

    Integer items dense from 0 or from 1 keep their order; all other items are numbered from 1 in
    the order of first appearance, and so are users whose ids are text. Rows of one user are sorted
    by time; ties keep the order of the file. `stage` copies rows that are slow to read twice.
    Raises DataError.
    """
    numbered = f"SELECT *, row_number() OVER () AS r FROM ({select})"
    connection.execute(f"CREATE TEMP {'TABLE' if stage else 'VIEW'} source AS {numbered}")
    types = {name: kind for name, kind, *_ in connection.execute("DESCRIBE source").fetchall()}
    user, item = (_id_expression(connection, c, types[c], source) for c in ("u", "i"))
    time = _time_expression(connection, types["t"], source)
    connection.execute(
        f"CREATE TEMP VIEW clean AS SELECT {user} AS u, {item} AS i, {time} AS t, r FROM source"
    )
    count, has_time = _check(connection, source, user, item)
    user_key, user_join = "u", ""
    if user.endswith("VARCHAR)"):
        _number(connection, "u", "users")
        user_key, user_join = "users.code", " JOIN users ON clean.u = users.id"
    num_items, item_key, item_join = _items(connection, item.endswith("VARCHAR)"))
    query = (
        f"SELECT {user_key} AS u, CAST({item_key} AS INTEGER) AS i{', t' if has_time else ''} "
        f"FROM clean{user_join}{item_join} ORDER BY {user_key}{', t' if has_time else ''}, r"
    )
    item_ids, offsets, times = _stream(connection, query, count, has_time, into)
    if not has_time:
        time_is_order = True
    elif time_is_order is None:
        told = _card_says(source)
        time_is_order = bool(_are_positions(times, offsets)) if told is None else told
    return Interactions(
        item_ids=item_ids,
        offsets=offsets,
        times=times,
        num_items=num_items,
        time_is_order=time_is_order,
        fingerprint="",
        dropped={},
    )


def open_text(path: Path) -> IO[str]:
    """The file as text, to look at its first lines; gzip is unpacked."""
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", errors="replace")
    return path.open(encoding="utf-8", errors="replace")


def identifier(name: str) -> str:
    """A column's name, quoted for SQL."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: object) -> str:
    """A string, quoted for SQL."""
    return "'" + str(text).replace("'", "''") + "'"


def check_columns(found: list[str], wanted: dict[str, str], source: Path) -> None:
    """Raises DataError for the first option of `wanted` whose column `found` has not."""
    for option, name in wanted.items():
        if name not in found:
            hint = f"there are: {', '.join(found)}; set data.{option} to one of them"
            raise DataError(f"{source} has no column {name!r} ({option})", hint)


def _id_expression(
    connection: duckdb.DuckDBPyConnection, column: str, kind: str, source: Path
) -> str:
    if kind in _INTEGERS:
        return f"CAST({column} AS BIGINT)"
    if kind in ("FLOAT", "DOUBLE"):
        test = (
            f"SELECT count(*) FILTER (isnan({column}) OR {column} <> trunc({column})) FROM source"
        )
        (bad,) = _one(connection, test)
        if bad:
            what = "user" if column == "u" else "item"
            raise DataError(
                f"{source}: {bad} {what} ids are NaN or not whole numbers",
                "drop or mend these rows",
            )
        return f"CAST({column} AS BIGINT)"
    return f"CAST({column} AS VARCHAR)"


def _time_expression(connection: duckdb.DuckDBPyConnection, kind: str, source: Path) -> str:
    if kind in _INTEGERS:
        return "CAST(t AS BIGINT)"
    if kind.startswith(("TIMESTAMP", "DATE")):
        return "epoch_us(CAST(t AS TIMESTAMP))"
    number = "TRY_CAST(t AS DOUBLE)"
    unreadable = f"t IS NULL OR {number} IS NULL OR NOT isfinite({number})"
    bad, fractions = _one(
        connection,
        f"SELECT count(*) FILTER ({unreadable}), "
        f"count(*) FILTER (isfinite({number}) AND {number} <> trunc({number})) FROM source",
    )
    if bad and kind == "VARCHAR":
        stamp = "TRY_CAST(t AS TIMESTAMP)"
        (bad,) = _one(connection, f"SELECT count(*) FILTER ({stamp} IS NULL) FROM source")
        if not bad:
            return f"epoch_us({stamp})"
    if bad:
        raise DataError(f"{source}: {bad} times are missing, NaN or no times", "drop these rows")
    # Fractions of a second decide the order too; a whole number of microseconds keeps them.
    return f"CAST(round({number} * 1e6) AS BIGINT)" if fractions else f"CAST({number} AS BIGINT)"


def _check(
    connection: duckdb.DuckDBPyConnection, source: Path, user: str, item: str
) -> tuple[int, bool]:
    negative = ", ".join(
        "0" if key.endswith("VARCHAR)") else f"count(*) FILTER ({name} < 0)"
        for name, key in (("u", user), ("i", item))
    )
    count, no_user, no_item, timed, bad_user, bad_item = _one(
        connection,
        "SELECT count(*), count(*) - count(u), count(*) - count(i), count(t), "
        f"{negative} FROM clean",
    )
    if count == 0:
        raise DataError(f"{source} holds no interactions", "check the file and data.where")
    for what, missing, below in (("user", no_user, bad_user), ("item", no_item, bad_item)):
        if missing:
            raise DataError(
                f"{source}: {missing} of {count} rows have no {what}", "drop these rows"
            )
        if below:
            raise DataError(
                f"{source}: {below} of {count} {what} ids are below 0", "ids are 0 or more, or text"
            )
    if 0 < timed < count:
        raise DataError(
            f"{source}: {count - timed} of {count} rows have no time", "drop these rows"
        )
    return count, timed > 0


def _items(connection: duckdb.DuckDBPyConnection, is_text: bool) -> tuple[int, str, str]:
    """Number of items, the SQL of an item's number, and the join that it needs."""
    if not is_text:
        lowest, highest, distinct = _one(
            connection, "SELECT min(i), max(i), count(DISTINCT i) FROM clean"
        )
        if lowest in (0, 1) and highest - lowest + 1 == distinct:
            return distinct, f"i + {1 - lowest}", ""
    return _number(connection, "i", "items"), "items.code", " JOIN items ON clean.i = items.id"


def _number(connection: duckdb.DuckDBPyConnection, column: str, table: str) -> int:
    connection.execute(
        f"CREATE TEMP TABLE {table} AS SELECT id, row_number() OVER (ORDER BY first) AS code "
        f"FROM (SELECT {column} AS id, min(r) AS first FROM clean GROUP BY 1)"
    )
    return _one(connection, f"SELECT count(*) FROM {table}")[0]


def _stream(
    connection: duckdb.DuckDBPyConnection, query: str, count: int, has_time: bool, into: Path | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    items = ArraySink(count, np.int32, into and into / "item_ids.npy")
    times = ArraySink(count, np.int64, into and into / "times.npy") if has_time else None
    starts: list[np.ndarray] = []
    previous, done = -1, 0
    relation = connection.sql(query)
    # Its name since DuckDB 1.5, and the one before.
    open_reader = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader
    for chunk in open_reader(_ROWS_PER_CHUNK):
        users = chunk.column("u").to_numpy()
        new = np.flatnonzero(users != np.concatenate([[previous], users[:-1]]))
        starts.append(new + done)
        items.append(chunk.column("i").to_numpy())
        if times is not None:
            times.append(chunk.column("t").to_numpy())
        previous, done = users[-1], done + len(users)
    offsets = ArraySink(sum(map(len, starts)) + 1, np.int64, into and into / "offsets.npy")
    for part in (*starts, np.array([count])):
        offsets.append(part)
    return items.finish(), offsets.finish(), None if times is None else times.finish()


def _card_says(source: Path) -> bool | None:
    card = source.parent / "card.json"
    if not card.is_file():
        return None
    try:
        said = json.loads(card.read_text(encoding="utf-8")).get("timestamps")
    except (ValueError, AttributeError) as error:
        raise DataError(f"{card} is no JSON object", "mend or remove it") from error
    return None if said is None else str(said).startswith("order")


def _one(connection: duckdb.DuckDBPyConnection, query: str) -> tuple:
    # All of it is fetched: a result left open keeps the connection from other work.
    [row] = connection.execute(query).fetchall()
    return row


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
