"""Read parquet, csv, tsv and json files that hold one interaction per row."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import duckdb
from pydantic import Field

from scalelab.core.errors import DataError
from scalelab.core.file_kinds import advice
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._click_logs import whose_click_log
from scalelab.datasets.readers._columns import (
    choose,
    refuse_finer_times,
    refuse_hidden_times,
    refuse_joined_items,
    session_instead,
)
from scalelab.datasets.readers._connection import check_condition, identifier
from scalelab.datasets.readers._files import opened
from scalelab.datasets.readers._options import Encoding, TimeFormat, Where
from scalelab.datasets.readers._rows import NO_TIME, read_rows
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
    unusual name, `time` must name it or be "order". `header` = false names columns by their places
    from 1. `where` is an SQL condition on the columns, such as `rating >= 4`. `time_format` states
    how times are written, such as "%d/%m/%Y", `encoding` how the text is, such as "latin-1", and
    `quote` what encloses a field; empty takes quotation marks as text.
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
        str | int,
        Field(description="column of the time; order: as in the file; empty: the usual names"),
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
                connection, files, source=source, header=self.header, quote=self.quote
            )
            _name_the_reader(table.names, source)
            options = {"user": str(self.user), "item": str(self.item), "time": str(self.time)}
            columns = choose(table.names, options, source, table.repeated)
            if not self.user:
                session = session_instead(connection, table, columns["user"])
                columns["user"] = session or columns["user"]
            refuse_joined_items(
                connection, table, columns["item"], source=source, requested=bool(self.item)
            )
            if "time" in columns:
                refuse_rounded(connection, files, columns["time"], source)
            elif not self.time:
                refuse_hidden_times(connection, table, columns, source)
            found = read_rows(
                connection,
                self._select(connection, table, columns),
                source=source,
                columns=[_named(columns[name], self.header) for name in _ROLES if name in columns],
                into=into,
                stage=table.is_text,
                has_time="time" in columns,
                time_format=self.time_format,
                header=(columns["user"], columns["item"]) if self.header else None,
            )
            if not self.time and _are_days(found):
                refuse_finer_times(connection, table, columns, source)
            return found

    def _select(
        self, connection: duckdb.DuckDBPyConnection, table: TableFormat, columns: dict[str, str]
    ) -> str:
        chosen = [identifier(columns[name]) for name in _ROLES if name in columns]
        chosen += [NO_TIME] * (3 - len(chosen))
        named = ", ".join(f"{c} AS {name}" for c, name in zip(chosen, "uit", strict=True))
        if not self.where:
            return f"SELECT {named} FROM {table.scan}"
        check_condition(connection, self.where)
        # The condition sees values of the types that all of a column have; ids stay as written.
        kinds = table.types(connection) if table.is_text else {}
        typed = ", ".join(
            f"{_as(identifier(name), kind)} AS {identifier(name)}" for name, kind in kinds.items()
        )
        inner = f"SELECT {typed or '*'}, {named.replace(' AS ', ' AS __')} FROM {table.scan}"
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
