"""Read parquet, csv, tsv and json files that hold one interaction per row."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import duckdb
from pydantic import Field

from scalelab.core.errors import DataError
from scalelab.core.file_kinds import advice
from scalelab.core.other_files import refuse_mind
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._click_logs import whose_click_log
from scalelab.datasets.readers._columns import (
    check_columns,
    choose,
    plain,
    refuse_finer_times,
    refuse_hidden_times,
    session_instead,
)
from scalelab.datasets.readers._connection import check_condition, identifier
from scalelab.datasets.readers._files import first_lines, opened
from scalelab.datasets.readers._joined_items import PLURALS, list_expression, refuse_joined_items
from scalelab.datasets.readers._options import Encoding, TimeFormat, Where
from scalelab.datasets.readers._rows import NO_TIME, read_rows
from scalelab.datasets.readers._split_times import joined_time, refuse_times_of_day
from scalelab.datasets.readers._table_formats import (
    FORMATS,
    OTHER_READERS,
    TableFormat,
    refuse_rounded,
    table_format,
)

__all__ = ["Table"]

_ROLES = ("user", "item", "time")
_DAY = 86_400


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns `user`, `item` and `time` by name; an empty name takes the usual one that is there.

    Without a time column the order of the file counts; where a column could be a time but has an
    unusual name, `time` must name it or be "order"; two columns are a date and a time of day.
    `header` = false names columns by their places from 1. `where` is an SQL condition on the
    columns, such as `rating >= 4`. `time_format` states how times are written, such as "%d/%m/%Y",
    `encoding` how the text is, such as "latin-1", and `quote` what encloses a field; empty takes
    quotation marks as text. `escape` says how a quotation mark is written within a field. `items`
    says whether each value of the item column is one item or a list of them.
    """

    user: Annotated[
        str | int,
        Field(description="column of the user, by name or place from 1; empty: the usual names"),
    ] = ""
    item: Annotated[
        str | int,
        Field(description="column of the item, by name or place from 1; empty: the usual names"),
    ] = ""
    time: Annotated[
        str | int | tuple[str | int, ...],
        Field(
            description="column of the time, or those of date and time of day; order: as in the "
            "file; empty: the usual names"
        ),
    ] = ""
    where: Where = ""
    header: Annotated[
        bool,
        Field(description="whether the first line names the columns"),
    ] = True
    time_format: TimeFormat = ""
    encoding: Encoding = "utf-8"
    quote: Annotated[
        Literal['"', "'", ""],
        Field(description="what encloses a field; empty: quotation marks are text"),
    ] = '"'
    escape: Annotated[
        Literal["double", "backslash"],
        Field(description='how a quotation mark is written within a field: "" or \\"'),
    ] = "double"
    items: Annotated[
        Literal["", "one", "list"],
        Field(description="what a value of the item column is; empty: decided from all"),
    ] = ""

    def read(self, source: Location, into: Path | None = None) -> Interactions:
        """Rows sorted by user, time and place in the file. Raises DataError."""
        if source.format not in FORMATS:
            other = OTHER_READERS.get(source.format)
            hint = f"it reads {', '.join(FORMATS)}"
            hint += f"; set {other}" if other else ""
            hint += f"; {to_do}" if (to_do := advice(source.parts[0].name)) else ""
            raise DataError(f"the reader 'table' cannot read {source.parts[0].name!r}", hint)
        with opened(source, self.encoding, into) as (files, connection):
            table = table_format(
                connection,
                files,
                source=source,
                header=self.header,
                quote=self.quote,
                escape=self.escape,
            )
            _name_the_reader(table.names, source)
            if table.is_text:
                refuse_mind(source, source.parts, first_lines(connection, files.paths[0], 5))
            time, *of_day = self._times(table, source)
            options = {"user": str(self.user), "item": str(self.item), "time": time}
            columns = choose(table.names, options, source, table.repeated)
            if not self.user:
                session = session_instead(connection, table, columns["user"])
                columns["user"] = session or columns["user"]
            is_plural = plain(columns["item"]) in PLURALS
            if not self.items and not (is_plural and self.item):
                refuse_joined_items(
                    connection, table, columns["item"], source=source, is_plural=is_plural
                )
            if "time" in columns:
                if not of_day:
                    refuse_times_of_day(connection, table, columns["time"], source)
                refuse_rounded(connection, files, columns["time"], source)
            elif not self.time:
                refuse_hidden_times(connection, table, columns, source)
            found = read_rows(
                connection,
                self._select(connection, table, self._sql(connection, table, columns, source)),
                source=source,
                columns=[_named(columns[name], self.header) for name in _ROLES if name in columns],
                into=into,
                stage=table.is_text,
                has_time="time" in columns,
                items=self.items,
                time_format=self.time_format,
                header=(columns["user"], columns["item"]) if self.header else None,
            )
            if of_day:
                found = replace(found, columns=found.columns | {"time": f"{time}, {of_day[0]}"})
            if not self.time and _are_days(found):
                refuse_finer_times(connection, table, columns, source)
            return found

    def _times(self, table: TableFormat, source: Location) -> list[str]:
        """The option `time` as one name, or as those of a date and a time of day."""
        if not isinstance(self.time, tuple):
            return [str(self.time)]
        names = [str(name) for name in self.time]
        if len(names) != 2:
            raise DataError(
                f"data.time names {len(names)} columns: {', '.join(names)}",
                'write one column, or ["DATE", "TIME_OF_DAY"] for two',
            )
        for name in names:
            check_columns(table.names, {"time": name}, source)
        return names

    def _sql(
        self,
        connection: duckdb.DuckDBPyConnection,
        table: TableFormat,
        columns: dict[str, str],
        source: Location,
    ) -> list[str]:
        """The SQL of user, item and time."""
        chosen = [identifier(columns["user"]), identifier(columns["item"]), NO_TIME]
        if self.items == "list":
            chosen[1] = list_expression(connection, table, columns["item"], source)
        if "time" in columns:
            date, *of_day = self._times(table, source)
            chosen[2] = identifier(columns["time"])
            if of_day:
                chosen[2] = joined_time(connection, table, (date, of_day[0]))
        return chosen

    def _select(
        self, connection: duckdb.DuckDBPyConnection, table: TableFormat, chosen: list[str]
    ) -> str:
        def named(before: str) -> str:
            return ", ".join(f"{c} AS {before}{n}" for c, n in zip(chosen, "uit", strict=True))

        if not self.where:
            return f"SELECT {named('')} FROM {table.scan}"
        check_condition(connection, self.where)
        # The condition sees values of the types that all of a column have; ids stay as written.
        kinds = table.types(connection) if table.is_text else {}
        typed = ", ".join(
            f"{_as(identifier(name), kind)} AS {identifier(name)}" for name, kind in kinds.items()
        )
        inner = f"SELECT {typed or '*'}, {named('__')} FROM {table.scan}"
        return f"SELECT __u AS u, __i AS i, __t AS t FROM ({inner}) WHERE ({self.where}\n)"


def _are_days(found: Interactions) -> bool:
    times = found.times
    if times is None or found.time_unit != "s":
        return False
    return not (times[:1000] % _DAY).any() and not (times % _DAY).any()


def _named(column: str, header: bool) -> str:
    return column if header else f"column {column}"


def _as(column: str, kind: str) -> str:
    if kind == "VARCHAR":
        return column
    nested = kind.startswith(("STRUCT", "MAP", "JSON")) or kind.endswith("]")
    return f"CAST(CAST({column} AS JSON) AS {kind})" if nested else f"CAST({column} AS {kind})"


def _name_the_reader(names: list[str], source: Location) -> None:
    """Raises DataError for the click logs that another reader reads as they are meant."""
    whose = whose_click_log(names)
    if whose is not None:
        raise DataError(
            f"{source} is written as {whose}'s click logs are", 'set data.reader = "sessions"'
        )
