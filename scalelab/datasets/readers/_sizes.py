"""Refuse files that unpack to an absurd size or hold an absurd line, before they fill memory."""

from pathlib import Path

import duckdb
import pyarrow as pa

from scalelab.core.errors import DataError
from scalelab.core.file_kinds import check_beginning

__all__ = ["check_rows", "check_text"]

# Logs pack to a fiftieth of their size at most; gzip's limit is a thousandth, others have none.
_MOST = 250
# Below this many bytes nothing is absurd.
_HARMLESS = 1 << 30
# DuckDB reads longer lines as an error, but drops a last one that exceeds its buffer of 32 MB,
# without a word. A list of all interactions in one line is usual in json, which has a larger one.
_LONGEST_LINE = 24 << 20
_LONGEST_LIST = 48 << 20
_BLOCK = 1 << 20
_PACKED = {".gz": "gzip", ".zst": "zstd"}
_MARKS = {"gzip": b"\x1f\x8b", "zstd": b"\x28\xb5\x2f\xfd"}
# What user, item and time of one row take once they are read.
_ROW_BYTES = 24


def _check_unpacked(path: Path, unpacked_bytes: int) -> None:
    """Raises DataError where `path` holds absurdly less than `unpacked_bytes`."""
    packed_bytes = path.stat().st_size
    if unpacked_bytes > max(_HARMLESS, _MOST * packed_bytes):
        raise DataError(
            f"{path} unpacks to more than {unpacked_bytes} bytes, {_MOST} times what it holds",
            "check where the file comes from; if it is right, unpack it first",
        )


def check_text(path: Path, format: str, states_encoding: bool = False) -> None:
    """Raises DataError where a text file is absurdly large or has an absurdly long line.

    It is unpacked block by block, and no further than it may be. Nor may it hold something else
    than its name says.
    """
    longest = _LONGEST_LIST if format == ".json" else _LONGEST_LINE
    total, since_line_end = 0, 0
    try:
        # As DuckDB does, Arrow takes a leading ~ of a relative name for a home folder.
        name, packed = str(path.absolute()), _PACKED.get(path.suffix.lower())
        with pa.input_stream(name, compression=packed) as stream:
            while block := stream.read(_BLOCK):
                if not total:
                    check_beginning(path, block, format, states_encoding)
                total += len(block)
                since_line_end += len(block)
                if b"\n" in block or b"\r" in block:
                    since_line_end = 0
                if since_line_end > longest:
                    raise DataError(
                        f"{path} has a line of more than {longest >> 20} MiB",
                        "check the file; write one interaction, user or session per line",
                    )
                _check_unpacked(path, total)
    except OSError as error:
        kind = _PACKED.get(path.suffix.lower())
        with path.open("rb") as file:
            if kind and not file.read(4).startswith(_MARKS[kind]):
                raise DataError(
                    f"{path} is not packed with {kind}", f"call it {path.stem}, or fetch it again"
                ) from error
        raise DataError(f"{path} cannot be unpacked: {error}", "fetch the file again") from error


def check_rows(connection: duckdb.DuckDBPyConnection, path: Path, files: str) -> None:
    """Raises DataError where a parquet file says that it holds absurdly many rows."""
    [(rows,)] = connection.execute(
        f"SELECT coalesce(sum(num_rows), 0) FROM parquet_file_metadata({files})"
    ).fetchall()
    _check_unpacked(path, _ROW_BYTES * int(rows))
