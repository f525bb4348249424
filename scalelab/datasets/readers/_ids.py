"""Decide from all values of a column of ids whether they are whole numbers or text."""

import duckdb

from scalelab.core.errors import DataError
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import one, shown

__all__ = ["MISSING", "id_expression"]

# What programs write where a value is missing; nobody's id.
MISSING = ("", "NULL", "null", "None", "none", "NaN", "nan", "NA", "N/A", "<NA>", "\\N")
_INTEGERS = {
    "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT",
    "HUGEINT", "UHUGEINT",
}  # fmt: skip
_NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
_WHOLE = r"-?(0|[1-9][0-9]*)(\.0*)?"
# Characters that nobody sees, which web pages and editors leave behind.
_UNSEEN = r"\x{00ad}\x{200b}-\x{200d}\x{2060}\x{feff}"
# What stands around an id and is none of it: these, and the blanks of Unicode.
_BLANKS = "\u00a0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))
_AT_THE_ENDS = " \t\r\u00ad\u200b\u200c\u200d\u2060\ufeff" + _BLANKS
# The first whole numbers that doubles and floats do not distinguish.
_EXACT = {"DOUBLE": 2**53, "FLOAT": 2**24}


def id_expression(
    connection: duckdb.DuckDBPyConnection, column: str, kind: str, source: Location
) -> tuple[str, bool]:
    """The SQL of a column's ids, and whether they are text; NULL where an id is missing.

    Ids are numbers only where every value is written canonically (`0|[1-9][0-9]*`) and has 63
    bits. Raises DataError for numbers that are not whole, and for structs and maps.
    """
    what = {"u": "user", "i": "item"}[column]
    if kind.startswith(("STRUCT", "MAP", "UNION")) or kind.endswith("]"):
        raise DataError(
            f"{source}: the {what} column holds {shown(kind)}, not ids",
            f"set data.{what} to a column of numbers or text",
        )
    if kind in _INTEGERS:
        negative, large = one(
            connection,
            f"SELECT count(*) FILTER ({column} < 0), count(*) FILTER ({column} > {2**63 - 1}) "
            "FROM source",
        )
        if negative or large:
            return f"CAST({column} AS VARCHAR)", True
        return f"CAST({column} AS BIGINT)", False
    if kind in _EXACT:
        return _of_floats(connection, column, kind=kind, source=source, what=what)
    text = column if kind == "VARCHAR" else f"CAST({column} AS VARCHAR)"
    return _of_text(connection, text, source, what)


def _of_floats(
    connection: duckdb.DuckDBPyConnection, column: str, *, kind: str, source: Location, what: str
) -> tuple[str, bool]:
    is_bad = f"NOT isfinite({column}) OR {column} <> trunc({column})"
    bad, large, negative = one(
        connection,
        f"SELECT count(*) FILTER ({is_bad}), count(*) FILTER (abs({column}) >= {_EXACT[kind]}), "
        f"count(*) FILTER ({column} < 0) FROM source",
    )
    if bad:
        _refuse_numbers(
            source, what=what, bad=bad, connection=connection, value=column, is_bad=is_bad
        )
    if large:
        raise DataError(
            f"{source}: {large} {what} ids are floats of {_EXACT[kind]} and more, which are "
            "rounded already",
            "write ids as whole numbers or text",
        )
    whole = f"CAST({column} AS BIGINT)"
    return (f"CAST({whole} AS VARCHAR)", True) if negative else (whole, False)


def _of_text(
    connection: duckdb.DuckDBPyConnection, text: str, source: Location, what: str
) -> tuple[str, bool]:
    number = f"TRY_CAST({text} AS BIGINT)"
    canonical = f"{number} >= 0 AND CAST({number} AS VARCHAR) = {text}"
    missing = f"({text} IS NULL OR {text} IN ({', '.join(map(repr, MISSING))}))"
    if _holds_at_the_start(connection, f"{missing} OR {canonical}"):
        rows, numbers, none = one(
            connection,
            f"SELECT count(*), count(*) FILTER ({canonical}), count(*) FILTER ({missing}) "
            "FROM source",
        )
        if numbers == rows:
            return f"CAST({text} AS BIGINT)", False
        if numbers + none == rows:
            return f"CASE WHEN {missing} THEN NULL ELSE {number} END", False
    _refuse_objects(connection, text, source, what)
    value, not_ascii = _without_blanks(connection, text, missing)
    whole = _as_whole(connection, value, source, what)
    if whole is not None:
        return whole
    if not_ascii:
        _refuse_alike(connection, value, source, what)
    return value, True


def _holds_at_the_start(connection: duckdb.DuckDBPyConnection, condition: str) -> bool:
    """Whether it holds for the first rows: where not, no look at all of them is needed."""
    query = f"SELECT count(*) FILTER (NOT coalesce({condition}, false))"
    return one(connection, f"{query} FROM (SELECT * FROM source LIMIT 1000)")[0] == 0


def _without_blanks(
    connection: duckdb.DuckDBPyConnection, text: str, missing: str
) -> tuple[str, bool]:
    """The SQL of ids without what stands around them, NULL where missing, and whether any has
    other characters than ASCII. To trim all of them takes longer than to read them."""
    is_other = f"strlen({text}) <> length({text})"
    blanks = "(' ', '\t', '\r')"
    around = f"{text}[1] IN {blanks} OR {text}[-1] IN {blanks}"
    others, blank, none = one(
        connection,
        f"SELECT count(*) FILTER ({is_other}), count(*) FILTER ({around}), "
        f"count(*) FILTER ({missing}) FROM source",
    )
    whole = f"trim({text}, '{_AT_THE_ENDS}')"
    if others and not blank:
        (blank,) = one(
            connection, f"SELECT count(*) FILTER ({is_other} AND {whole} <> {text}) FROM source"
        )
    bare = text
    if blank:
        bare = f"trim({text}, ' \t\r')"
        bare = f"CASE WHEN {is_other} THEN {whole} ELSE {bare} END" if others else bare
    if blank or none:
        names = ", ".join(map(repr, MISSING))
        bare = f"CASE WHEN {bare} IN ({names}) THEN NULL ELSE {bare} END"
    return bare, bool(others)


def _as_whole(
    connection: duckdb.DuckDBPyConnection, value: str, source: Location, what: str
) -> tuple[str, bool] | None:
    """The SQL of ids that are whole numbers throughout, and whether they stay text; else None."""
    if not _holds_at_the_start(
        connection, f"{value} IS NULL OR regexp_full_match({value}, '{_NUMBER}')"
    ):
        return None
    real = f"TRY_CAST({value} AS DOUBLE)"
    is_float = f"regexp_matches({value}, '[.eE]')"
    rounded = f"({is_float} AND abs({real}) >= {2**53})"
    fraction = f"{real} <> trunc({real}) OR regexp_matches({value}, '[eE]') OR {rounded}"
    rows, numbers, whole, bad, negative, long = one(
        connection,
        f"SELECT count({value}), count(*) FILTER (regexp_full_match({value}, '{_NUMBER}')), "
        f"count(*) FILTER (regexp_full_match({value}, '{_WHOLE}')), "
        f"count(*) FILTER ({fraction}), count(*) FILTER ({value} LIKE '-%'), "
        f"count(*) FILTER (TRY_CAST({value} AS BIGINT) IS NULL AND {value} IS NOT NULL) "
        "FROM source",
    )
    if rows == numbers and bad:
        _refuse_numbers(
            source, what=what, bad=bad, connection=connection, value=value, is_bad=fraction
        )
    if rows != whole:
        return None
    plain = f"regexp_replace({value}, '\\.0*$', '')"
    return (plain, True) if negative or long else (f"CAST({plain} AS BIGINT)", False)


def _refuse_alike(
    connection: duckdb.DuckDBPyConnection, value: str, source: Location, what: str
) -> None:
    """Raises DataError where two ids look the same: they may be one, or may not."""
    seen = f"nfc_normalize(regexp_replace({value}, '[{_UNSEEN}]', '', 'g'))"
    number, first, second = one(
        connection,
        "SELECT count(*), first(a ORDER BY a), first(b ORDER BY a) FROM (SELECT min(v) AS a, "
        f"max(v) AS b FROM (SELECT DISTINCT {value} AS v, {seen} AS seen FROM source) "
        "GROUP BY seen HAVING count(*) > 1)",
    )
    if number:
        raise DataError(
            f"{source}: {number} {what} ids look like another one, such as {first!a} and "
            f"{second!a}: letters with an accent written in two ways, or unseen characters",
            'write each in one way, as pandas does with column.str.normalize("NFC") and '
            r'column.str.replace(r"[\u00ad\u200b-\u200d\u2060\ufeff]", "", regex=True)',
        )


def _refuse_objects(
    connection: duckdb.DuckDBPyConnection, text: str, source: Location, what: str
) -> None:
    """JSON objects and lists are not ids, nor is a text over several lines."""
    is_object = f"{text}[1] IN ('{{', '[') AND json_valid({text})"
    objects, broken = one(
        connection,
        f"SELECT count(*) FILTER ({is_object}), count(*) FILTER (contains({text}, '\n')) "
        "FROM source",
    )
    if objects:
        raise DataError(
            f"{source}: {objects} values of the {what} column are objects or lists, not ids",
            f"set data.{what} to a column of numbers or text, or write one object a row, as pandas "
            "does with to_json(orient='records', lines=True)",
        )
    if broken:
        raise DataError(
            f"{source}: {broken} {what} ids hold a line break, as where a quotation mark opens in "
            "one line and closes in another",
            'fix the file; in csv and tsv, set data.quote = "" where quotation marks are text',
        )


def _refuse_numbers(
    source: Location,
    *,
    what: str,
    bad: int,
    connection: duckdb.DuckDBPyConnection,
    value: str,
    is_bad: str,
) -> None:
    [(example, row)] = connection.execute(
        f"SELECT {value}, r FROM source WHERE {is_bad} ORDER BY r LIMIT 1"
    ).fetchall()
    raise DataError(
        f"{source}: {bad} {what} ids are NaN or not whole numbers, the first is "
        f"{shown(example)!r} in row {row}",
        f"fix these rows, or set data.{what} to a column of ids",
    )
