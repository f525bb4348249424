"""Digest what a data set holds: ids as text and times in UTC, in the order of the file."""

import hashlib
from typing import Any

import duckdb
import numpy as np

from scalelab.datasets.readers._connection import chunks_of
from scalelab.datasets.readers._time_units import SCALES

__all__ = ["content_digest"]


def content_digest(connection: duckdb.DuckDBPyConnection, has_time: bool, unit: str) -> str:
    """32 hex digits over the table `clean`: equal for equal ids and times, whatever the format.

    Whether ids are numbers follows from how they are written, so numbers are digested as such.
    """
    columns = ["u", "i", *(["t"] if has_time else [])]
    relation = connection.sql(f"SELECT {', '.join(columns)} FROM clean")
    digests = {name: (hashlib.blake2b(), hashlib.blake2b()) for name in columns}
    for chunk in chunks_of(relation):
        for name in columns:
            _take(chunk.column(name), *digests[name])
    whole = hashlib.blake2b(digest_size=16)
    # A number of no known unit counts as seconds, as a date of that second would.
    whole.update(f"{SCALES[unit or 's']}".encode() if has_time else b"order")
    for values, lengths in digests.values():
        whole.update(values.digest() + lengths.digest())
    return whole.hexdigest()


def _take(column: Any, values: Any, lengths: Any) -> None:
    if str(column.type) not in ("string", "large_string"):
        values.update(np.ascontiguousarray(column.to_numpy(), dtype="<i8"))
        return
    wide = np.int64 if str(column.type) == "large_string" else np.int32
    _, offsets, text = column.buffers()
    ends = np.frombuffer(offsets, dtype=wide)[column.offset : column.offset + len(column) + 1]
    if text is not None:
        values.update(memoryview(text)[int(ends[0]) : int(ends[-1])])
    lengths.update(np.diff(ends).astype("<i4"))
