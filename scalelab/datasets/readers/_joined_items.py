"""Refuse columns of items that hold several in one text, and cut those that are stated to."""

import duckdb

from scalelab.core.errors import DataError
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._connection import identifier, literal, one, shown
from scalelab.datasets.readers._table_formats import TableFormat

__all__ = ["PLURALS", "list_expression", "refuse_joined_items"]

# Names of columns that are usual for lists.
PLURALS = ("items", "item_ids", "item_list")
# Marks between the items of a text; blanks only where no text has another one.
_MARKS = (",", ";", "|")


def refuse_joined_items(
    connection: duckdb.DuckDBPyConnection,
    table: TableFormat,
    item: str,
    *,
    source: Location,
    is_plural: bool,
) -> None:
    """Raises DataError where a column of items holds several in one text.

    Where its name is a plural, most values of several words show it; in any other column, words
    that all have a digit and are not of one number.
    """
    text = f"trim(CAST({identifier(item)} AS VARCHAR))"
    if not is_plural:
        _refuse_joined_ids(connection, table, text=text, item=item, source=source)
        return
    rows, joined, example = one(
        connection,
        f"SELECT count(*), count(*) FILTER (joined), min(v) FILTER (joined) FROM (SELECT {text} AS "
        f"v, regexp_matches(v, '[ ,;|]') AND v NOT LIKE '[%' AS joined "
        f"FROM {table.scan})",
    )
    if 2 * joined > rows:
        named = f' or data.item = "{item}"'
        raise _refused(source, f"{joined} of {rows}", item=item, example=example, named=named)


def _refuse_joined_ids(
    connection: duckdb.DuckDBPyConnection,
    table: TableFormat,
    *,
    text: str,
    item: str,
    source: Location,
) -> None:
    is_joined = "v NOT LIKE '[%' AND regexp_matches(v, '[0-9][^ ,;|]*[ ,;|]+[^ ,;|]*[0-9]')"
    query = (
        f"SELECT count(*), count(*) FILTER ({is_joined}), min(v) FILTER ({is_joined}), "
        f"count(DISTINCT len(regexp_split_to_array(v, '[ ,;|]+'))) FILTER ({is_joined}), "
        f"count(*) FILTER ({is_joined} AND regexp_matches(v, '(^|[ ,;|])[^ ,;|0-9]+([ ,;|]|$)')) "
        f"FROM (SELECT {text} AS v FROM {table.scan} {{limit}})"
    )
    for limit in ("LIMIT 1000", ""):  # a few rows spare the others in most files
        query_of = query.replace("{limit}", limit)
        rows, joined, example, lengths, words = one(connection, query_of)
        if 2 * joined <= rows or lengths < 2 or words:
            return
    raise _refused(source, f"{joined} of {rows}", item=item, example=example)


def _refused(
    source: Location, count: str, *, item: str, example: str, named: str = ""
) -> DataError:
    return DataError(
        f"{source}: {count} values of {item!r} seem to hold several items, such as "
        f"{shown(example)!r}",
        f'set data.items = "list" if a value is a list, or data.items = "one"{named} if it '
        'is one item; lines of a user and items have data.reader = "sequences"',
    )


def list_expression(
    connection: duckdb.DuckDBPyConnection, table: TableFormat, item: str, source: Location
) -> str:
    """The SQL of a column of items as lists, for data.items = "list".

    Lists and texts that are JSON lists stay as they are. Other texts are cut at commas, semicolons
    or |, where any has one of these, else at blanks. NULL where nothing stands. Raises DataError
    where texts have several of the three.
    """
    column = identifier(item)
    if not table.is_text and table.types(connection)[item].endswith("]"):
        return column
    text = f"trim(CAST({column} AS VARCHAR), ' \t\r')"
    counts = ", ".join(f"count(*) FILTER (contains({text}, {literal(m)}))" for m in _MARKS)
    filled, as_json, *found = one(
        connection,
        f"SELECT count(nullif({text}, '')), count(*) FILTER ({text} LIKE '[%]'), {counts} "
        f"FROM {table.scan}",
    )
    if filled == as_json:
        return f"nullif({text}, '')"
    marks = [mark for mark, count in zip(_MARKS, found, strict=True) if count]
    if len(marks) > 1 or as_json:
        ways = [repr(mark) for mark in marks] + (["JSON"] if as_json else [])
        raise DataError(
            f"{source}: values of {item!r} are lists in several ways: {', '.join(ways)}",
            "write all of them in one way",
        )
    if not marks:
        return f"regexp_split_to_array(nullif({text}, ''), '\\s+')"
    cut = f"string_split(nullif({text}, ''), {literal(marks[0])})"
    return f"list_transform({cut}, lambda x: trim(x, ' \t\r'))"
