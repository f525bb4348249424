"""Describe tables in csv, tsv, json and parquet files as SQL that reads them.

Text formats give every column as text, so that no type is decided from a sample.
"""

import ast
import csv
import json
import re
from collections import Counter
from dataclasses import dataclass

import duckdb

from scalelab.core.errors import DataError
from scalelab.core.other_files import is_netflix, netflix_error
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import literal, shown
from scalelab.datasets.readers._files import Files, first_lines
from scalelab.datasets.readers._parquet import refuse_zoned_nanoseconds, written_names

__all__ = ["FORMATS", "OTHER_READERS", "SEPARATED", "TableFormat", "refuse_rounded", "table_format"]

SEPARATED = (".csv", ".tsv", ".txt", ".dat", ".data")
FORMATS = (".parquet", ".pq", ".jsonl", ".ndjson", ".json", *SEPARATED)
# Which readers read such files where they are no tables with names of columns.
OTHER_READERS = {
    ".txt": 'data.reader = "lines" or "sequences"',
    ".dat": 'data.reader = "movielens" or "lines"',
    ".data": 'data.reader = "movielens" or "lines"',
    ".inter": 'data.reader = "recbole"',
}
_DELIMITERS = (",", "\t", ";", "|")
_LONGEST_OBJECT = 100_000_000


@dataclass(frozen=True, kw_only=True)
class TableFormat:
    """SQL that reads the columns `names`. A text format reads all of them as text; `typed` is the
    same with the types that all values of a column have. `repeated` are the columns whose name,
    large and small letters alike, another column has too."""

    scan: str
    names: list[str]
    is_text: bool
    typed: str = ""
    repeated: frozenset[str] = frozenset()

    def types(self, connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
        """Types of the columns; those of a text format are decided from all values."""
        described = connection.execute(f"DESCRIBE SELECT * FROM {self.typed or self.scan}")
        kinds = [kind for _, kind, *_ in described.fetchall()]
        return dict(zip(self.names, kinds, strict=True))


def table_format(
    connection: duckdb.DuckDBPyConnection,
    files: Files,
    *,
    source: Location,
    header: bool,
    quote: str,
    escape: str,
) -> TableFormat:
    """How the table in `files` is read. Without `header`, columns are called 1, 2, 3 ...

    Raises DataError.
    """
    if files.format in (".parquet", ".pq"):
        scan = f"read_parquet({files.sql}, hive_partitioning = false, union_by_name = true)"
        names = _names(connection, scan)
        repeated = _repeated(names, written_names(files.paths[0]))
        return TableFormat(scan=scan, names=names, is_text=False, repeated=repeated)
    first = [first_lines(connection, path, 20) for path in files.paths]
    if not all(first):
        raise DataError(f"{source} holds no interactions", "check the file")
    if files.format in SEPARATED:
        return _csv(files, first=first, source=source, header=header, quote=quote, escape=escape)
    return _json(connection, files, first[0][0], source)


def _csv(
    files: Files,
    *,
    first: list[list[str]],
    source: Location,
    header: bool,
    quote: str,
    escape: str,
) -> TableFormat:
    for path, lines in zip(files.paths, first, strict=True):
        if re.fullmatch("sep=.", lines[0].strip()):
            raise DataError(
                f"{source}: {path.name} begins with {shown(lines[0])!r}, which names no columns",
                "remove this line",
            )
    tabs = files.format == ".tsv" and "\t" in first[0][0]
    delimiter = "\t" if tabs else _delimiter(first[0][0])
    style = csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE
    with_backslash = bool(quote) and escape == "backslash"
    [cells] = csv.reader(
        first[0][:1],
        delimiter=delimiter,
        quotechar=quote or None,
        quoting=style,
        doublequote=not with_backslash,
        escapechar="\\" if with_backslash else None,
    )
    if len(cells) == 1 and is_netflix(first[0]):
        raise netflix_error(source, source.parts)
    if len(cells) == 1:
        other = OTHER_READERS.get(files.format)
        raise DataError(
            f"{source}: no comma, tab, semicolon or | separates columns in the first line: "
            f"{shown(first[0][0])!r}",
            (f"set {other}; or " if other else "")
            + "separate columns by one of these, and remove what stands before the header",
        )
    for path, lines in zip(files.paths, first, strict=True):
        if header and lines[0] != first[0][0]:
            raise DataError(
                f"{source}: the part {path.name} does not begin with the header of the first: "
                f"{shown(lines[0])!r}",
                "write the same header into every part, or read them one by one",
            )
    names = _distinct(cells) if header else [str(n + 1) for n in range(len(cells))]
    shape = (
        f"{files.sql}, header = {str(header).lower()}, delim = {literal(delimiter)}, "
        f"quote = {literal(quote)}, "
        f"escape = {literal(chr(92) if with_backslash else quote)}, hive_partitioning = false"
    )
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    scan = f"read_csv({shape}, auto_detect = false, columns = {{{columns}}})"
    return TableFormat(
        scan=scan,
        names=names,
        is_text=True,
        typed=f"read_csv({shape}, skip = 0, sample_size = -1)",
        repeated=_repeated(names, cells) if header else frozenset(),
    )


def refuse_rounded(
    connection: duckdb.DuckDBPyConnection, files: Files, column: str, source: object
) -> None:
    """Raises DataError where numbers of JSON or times of parquet have more digits than are read."""
    if files.format in (".parquet", ".pq"):
        refuse_zoned_nanoseconds(files.paths, column, source)
        return
    if files.format not in (".jsonl", ".ndjson", ".json"):
        return
    key = re.escape(json.dumps(column, ensure_ascii=False))
    digits = f"regexp_extract(line, {literal(key + ' *: *-?([0-9]+[.][0-9]+)')}, 1)"
    [(count,)] = connection.execute(
        f"SELECT count(*) FILTER (length({digits}) > 18) FROM {files.lines}"
    ).fetchall()
    if count:
        raise DataError(
            f"{source}: {count} numbers of {column!r} have more than 17 digits, which JSON's "
            "numbers do not keep",
            "write them as text, in quotation marks",
        )


def _delimiter(line: str) -> str:
    """The mark that cuts the first line into most fields."""
    return max(_DELIMITERS, key=lambda mark: len(next(csv.reader([line], delimiter=mark))))


def _distinct(cells: list[str]) -> list[str]:
    names: list[str] = []
    for place, cell in enumerate(cells, start=1):
        name = cell.strip() or f"column {place}"
        taken = {known.lower() for known in names}
        while name.lower() in taken:
            name = f"{name} ({place})"
        names.append(name)
    return names


def _repeated(names: list[str], written: list[str]) -> frozenset[str]:
    """Those of `names` that are written more than once, in large or small letters."""
    counts = Counter(name.strip().lower() for name in written)
    return frozenset(name for name in names if counts[name.strip().lower()] > 1)


def _json(
    connection: duckdb.DuckDBPyConnection, files: Files, line: str, source: object
) -> TableFormat:
    if _ends_in_a_comma(line):
        raise DataError(
            f"{source}: the first line ends in a comma, so it is neither JSON nor a part of a "
            f"list: {shown(line)}",
            "remove the comma at the end of each line, or put [ before the first and ] after the "
            "last",
        )
    if _is_python(line):
        raise DataError(
            f"{source} holds Python literals, not JSON: its first line is {shown(line)}",
            "write each line anew with json.dumps(ast.literal_eval(line)) in Python",
        )
    if line.strip() in ("{", "{}") or re.match(r'\s*\{\s*"[^"]*"\s*:\s*[\[{]?\s*$', line):
        raise DataError(
            f"{source}: an object of JSON goes over several lines: it begins with {shown(line)!r}",
            "write one object per line, as pandas does with to_json(orient='records', lines=True)",
        )
    kind = "array" if line.lstrip().startswith("[") else "newline_delimited"
    shape = (
        f"{files.sql}, format = '{kind}', hive_partitioning = false, "
        f"maximum_object_size = {_LONGEST_OBJECT}"
    )
    typed = f"read_json({shape}, sample_size = -1)"
    names = _names(connection, typed)
    columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
    scan = f"read_json({shape}, columns = {{{columns}}})"
    return TableFormat(scan=scan, names=names, is_text=True, typed=typed)


def _ends_in_a_comma(line: str) -> bool:
    try:
        json.loads(line.rstrip().removesuffix(","))
        return line.rstrip().endswith(",")
    except ValueError:
        return False


def _is_python(line: str) -> bool:
    try:
        json.loads(line)
        return False
    except ValueError:
        pass
    try:
        return isinstance(ast.literal_eval(line.strip().rstrip(",")), dict | list)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def _names(connection: duckdb.DuckDBPyConnection, scan: str) -> list[str]:
    described = connection.execute(f"DESCRIBE SELECT * FROM {scan}").fetchall()
    return [name for name, *_ in described]
