"""Give the parts of a data set plain names and UTF-8 text, so that DuckDB can read them."""

import codecs
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from scalelab.core.errors import DataError
from scalelab.core.leftovers import temporary_folder
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import literal, workspace
from scalelab.datasets.readers._sizes import check_rows, check_text

__all__ = ["Files", "first_lines", "opened"]

_BLOCK = 1 << 22
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# Longer lines are refused, so that a file that unpacks to one endless line takes bounded memory.
_LONGEST_LINE = 50_000_000


class Files:
    """Files of one format, `.csv` or another, and their names as SQL."""

    def __init__(self, paths: list[Path], format: str) -> None:
        self.paths = paths
        self.format = format

    @property
    def sql(self) -> str:
        """A list of names for read_csv and its like."""
        return f"[{', '.join(literal(path) for path in self.paths)}]"

    @property
    def lines(self) -> str:
        """SQL that reads each line as one text, in a column `line`."""
        return _lines(self.sql)


@contextmanager
def opened(
    source: Location, encoding: str = "utf-8", spill: Path | None = None
) -> Iterator[tuple[Files, duckdb.DuckDBPyConnection]]:
    """The files of `source` in UTF-8, and a connection that opens them alone.

    A name with a star or brackets is linked to under a plain one, for DuckDB would take it for a
    pattern. Raises DataError for an empty file, an unknown encoding, text that is not in it, and a
    file that unpacks to an absurd size.
    """
    with temporary_folder("scalelab-read-", spill) as folder:
        is_text = source.format not in (".parquet", ".pq")
        if is_text:
            for part in source.parts:
                check_text(part, source.format, not _is_utf8(encoding))
        paths = [
            _readable(part, folder / str(number), source.format, encoding if is_text else "")
            for number, part in enumerate(source.parts)
        ]
        with workspace(source, paths, spill) as connection:
            for path, part in zip(paths, source.parts, strict=True):
                if not is_text:
                    check_rows(connection, part, f"[{literal(path)}]")
            yield Files(paths, source.format), connection


def _readable(part: Path, plain: Path, format: str, encoding: str) -> Path:
    """The file itself, or what stands for it at `plain` with a suffix. No encoding: not text."""
    if part.stat().st_size == 0:
        raise DataError(f"{part} is empty", "check the file")
    if _is_utf8(encoding):
        encoding = _marked(part)
    suffix = "".join(part.suffixes[-2:]) if part.suffix in (".gz", ".zst") else part.suffix
    if encoding:
        plain = plain.with_suffix(format)
        _rewrite(part, encoding, plain)
        return plain
    if any(sign in str(part.absolute()) for sign in "*?[") or suffix != suffix.lower():
        plain = plain.with_name(plain.name + suffix.lower())
        plain.symlink_to(part.absolute())
        return plain
    # DuckDB takes a leading ~ for a home folder, and word: for a protocol.
    return part.absolute()


def _is_utf8(encoding: str) -> bool:
    return encoding.replace("-", "").lower() == "utf8"


def first_lines(connection: duckdb.DuckDBPyConnection, path: Path, count: int) -> list[str]:
    """The first lines of one file that are not blank, unpacked, without a byte order mark."""
    select = f"SELECT line FROM {_lines(f'[{literal(path)}]')} WHERE trim(line) <> ''"
    rows = connection.execute(f"{select} LIMIT {count}").fetchall()
    return [line.removeprefix("\ufeff").rstrip("\r") for (line,) in rows]


def _lines(files: str) -> str:
    # A delimiter that no text holds makes every line one field.
    return (
        f"read_csv({files}, delim = '\x01', header = false, quote = '', escape = '', "
        "auto_detect = false, columns = {'line': 'VARCHAR'}, hive_partitioning = false, "
        f"max_line_size = {_LONGEST_LINE}, buffer_size = {2 * _LONGEST_LINE})"
    )


def _marked(path: Path) -> str:
    """The encoding that a byte order mark names, else ""."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            first = file.read(3)
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be unpacked: {error}", "fetch the file again") from error
    return next((name for mark, name in _MARKS.items() if first.startswith(mark)), "")


def _rewrite(path: Path, encoding: str, out: Path) -> None:
    if path.suffix == ".zst":
        raise DataError(f"{path}: data.encoding is not read from .zst", "unpack it: zstd -d")
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with (
            opener(path, "rt", encoding=encoding, newline="") as text,
            out.open("w", encoding="utf-8", newline="") as plain,
        ):
            while block := text.read(_BLOCK):
                plain.write(block)
    except LookupError as error:
        raise DataError(f"data.encoding: {error}", 'write "latin-1" or "utf-16"') from error
    except (UnicodeError, OSError, EOFError) as error:
        hint = "set data.encoding to the one that it is written in"
        raise DataError(f"{path} is not written in {encoding}: {error}", hint) from error
