"""Refuse files that unpack to absurdly more than they hold, before they fill memory and disk."""

from pathlib import Path

import duckdb

from scalelab.core.errors import DataError
from scalelab.datasets.readers._connection import chunks_of

__all__ = ["check_rows", "check_text", "check_unpacked"]

# Logs pack to a fiftieth of their size at most; gzip's limit is a thousandth, others have none.
_MOST = 250
# Below this many bytes nothing is absurd.
_HARMLESS = 1 << 30
# What user, item and time of one row take once they are read.
_ROW_BYTES = 24


def check_unpacked(path: Path, unpacked_bytes: int) -> None:
    """Raises DataError where `path` holds absurdly less than `unpacked_bytes`."""
    packed_bytes = path.stat().st_size
    if unpacked_bytes > max(_HARMLESS, _MOST * packed_bytes):
        raise DataError(
            f"{path} unpacks to more than {unpacked_bytes} bytes, {_MOST} times what it holds",
            "check where the file comes from; if it is right, unpack it first",
        )


def check_text(connection: duckdb.DuckDBPyConnection, path: Path, lines: str, named: Path) -> None:
    """Raises DataError where the lines of a packed file are absurdly many.

    `lines` is SQL that gives them in a column `line`; `named` is the file as people know it.
    """
    if path.suffix not in (".gz", ".zst"):
        return
    relation = connection.sql(f"SELECT strlen(line) + 1 AS size FROM {lines}")
    total = 0
    # Read in chunks, so that a file is unpacked no further than it may be.
    for chunk in chunks_of(relation):
        total += int(chunk.column("size").to_numpy().sum())
        check_unpacked(named, total)


def check_rows(connection: duckdb.DuckDBPyConnection, path: Path, files: str) -> None:
    """Raises DataError where a parquet file says that it holds absurdly many rows."""
    [(rows,)] = connection.execute(
        f"SELECT coalesce(sum(num_rows), 0) FROM parquet_file_metadata({files})"
    ).fetchall()
    check_unpacked(path, _ROW_BYTES * int(rows))
