"""Say what a file holds where that is not what its name says."""

import json
from pathlib import Path

from scalelab.core.errors import DataError

__all__ = ["advice", "check_beginning"]

_EXPORT = "write it as parquet or csv, such as with to_parquet in pandas"
_UNPACK = "unpack it first, or pack it with gzip or zstd"
# How files begin that are no text, what they are, and what to do.
_BINARY = (
    (b"\x1f\x8b", "is packed with gzip", "call it .gz, such as ratings.csv.gz"),
    (b"\x28\xb5\x2f\xfd", "is packed with zstd", "call it .zst, such as ratings.csv.zst"),
    (b"BZh91AY&SY", "is packed with bzip2", _UNPACK),
    (b"\xfd7zXZ", "is packed with xz", _UNPACK),
    (b"7z\xbc\xaf", "is a 7z archive", _UNPACK),
    (b"PK\x03\x04", "is a zip archive or an Excel file", f"unpack it, or {_EXPORT}"),
    (b"\xd0\xcf\x11\xe0", "is an Excel file", _EXPORT),
    (b"PAR1\x15", "is a parquet file", "call it .parquet"),
    (b"ARROW1\0\0", "is an Arrow file", _EXPORT),
    (b"Obj\x01", "is an Avro file", _EXPORT),
    (b"\x89HDF", "is an HDF5 file", _EXPORT),
    (b"SQLite format 3", "is an SQLite data base", _EXPORT),
    (b"\x93NUMPY", "is a NumPy array", _EXPORT),
)
_ARCHIVES = (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".gzip")
_TABLES = (".xlsx", ".xls", ".feather", ".arrow", ".ipc", ".orc", ".avro", ".h5", ".hdf5", ".pkl")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def advice(name: str) -> str:
    """What to do with a file that is called so and cannot be read, "" where that is not known."""
    name = name.lower()
    if name.endswith(_ARCHIVES) or ".tar." in name:
        return _UNPACK
    return _EXPORT if name.endswith(_TABLES) else ""


def check_beginning(path: Path, first: bytes, format: str, states_encoding: bool) -> None:
    """Raises DataError where `first`, unpacked bytes of a text file, is of something else."""
    for begin, what, hint in _BINARY:
        if first.startswith(begin):
            raise DataError(f"{path} {what}", hint)
    if b"\0" in first[:2] and not states_encoding and not first.startswith(_UTF_16):
        raise DataError(
            f"{path} holds bytes of zero, as UTF-16 without a mark does",
            'set data.encoding = "utf-16-le" or "utf-16-be"',
        )
    text = first.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"version https://git-lfs"):
        raise DataError(f"{path} is a pointer of Git LFS, not the data", "fetch it: git lfs pull")
    if text[:9].lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise DataError(
            f"{path} is a page of the web or XML, not a table", "check where it was fetched from"
        )
    if format in (".csv", ".tsv") and _is_object(text):
        raise DataError(
            f"{path} holds JSON: it begins with {text[:40].decode(errors='replace')!r}",
            "call it .jsonl",
        )


def _is_object(text: bytes) -> bool:
    line, *_ = text.split(b"\n", 1)
    try:
        return isinstance(json.loads(line.rstrip(b"\r,")), dict)
    except ValueError:
        return False
