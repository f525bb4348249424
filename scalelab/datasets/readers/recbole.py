"""Read a RecBole .inter file: tab-separated, with a typed header."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._columns import ORDER, check_columns
from scalelab.datasets.readers._connection import (
    check_condition,
    identifier,
    literal,
    shown,
)
from scalelab.datasets.readers._files import first_lines, opened
from scalelab.datasets.readers._options import Encoding, TimeFormat, Where
from scalelab.datasets.readers._rows import NO_TIME, read_rows

__all__ = ["Recbole"]

# The types of RecBole's atomic files; sequences are no single value.
_TYPES = {"token": "VARCHAR", "float": "DOUBLE", "token_seq": "VARCHAR", "float_seq": "VARCHAR"}


@dataclass(frozen=True, kw_only=True)
class Recbole:
    """Header `user_id:token`, `item_id:token`, `timestamp:float`; options are names without type.

    `time` "order", or empty, takes the order of the file. `time_format` and `encoding` are those of
    the reader `table`.
    """

    user: Annotated[
        str,
        Field(description="column of the user, without its type"),
    ] = "user_id"
    item: Annotated[
        str,
        Field(description="column of the item, without its type"),
    ] = "item_id"
    time: Annotated[
        str,
        Field(description='column of the time; "order" or empty: the order of the file'),
    ] = "timestamp"
    where: Where = ""
    time_format: TimeFormat = ""
    encoding: Encoding = "utf-8"

    def read(self, source: Location, into: Path | None = None) -> Interactions:
        """Rows sorted by user, time and place in the file. Raises DataError."""
        with opened(source, self.encoding, into) as (files, connection):
            [first, *_] = first_lines(connection, files.paths[0], 1) or [""]
            for part in files.paths[1:]:
                if first_lines(connection, part, 1) != [first]:
                    raise DataError(f"{part} has another header than the first part", "fix it")
            header = first.split("\t")
            names = [column.partition(":")[0] for column in header]
            kinds = [column.partition(":")[2] for column in header]
            if any(kind not in _TYPES for kind in kinds):
                hint = "the first line names columns as name:type, with types " + ", ".join(_TYPES)
                raise DataError(
                    f"{source} is not an .inter file: its header is "
                    f"{shown(' '.join(header), 80)!r}",
                    hint,
                )
            for name in names:
                if names.count(name) > 1:
                    raise DataError(f"{source} has several columns called {name!r}", "rename one")
            listed = f"{self.item}_list"
            if listed in names:
                raise DataError(
                    f"{source}: each row holds a target and, in {listed!r}, what came before it; "
                    f"{self.item!r} alone does not make a history",
                    "read the .inter file from which it was made, one interaction per row",
                )
            timed = self.time not in ("", ORDER) or self.time in names
            wanted = {"user": self.user, "item": self.item}
            check_columns(names, wanted | ({"time": self.time} if timed else {}), source)
            for option, name in (("user", self.user), ("item", self.item)):
                kind = kinds[names.index(name)]
                if kind.endswith("_seq"):
                    raise DataError(
                        f"{source}: {name!r} is a {kind}, which holds several values",
                        f"set data.{option} to a column of type token",
                    )
            # Ids and times are read as they are written, whatever type the header gives them.
            columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in names)
            scan = (
                f"read_csv({files.sql}, delim = '\t', header = true, quote = '', escape = '', "
                f"auto_detect = false, hive_partitioning = false, columns = {{{columns}}})"
            )
            time = identifier(self.time) if timed else NO_TIME
            named = f"{identifier(self.user)} AS {{}}u, {identifier(self.item)} AS {{}}i, "
            named += f"{time} AS {{}}t"
            select = f"SELECT {named.replace('{}', '')} FROM {scan}"
            if self.where:
                check_condition(connection, self.where)
                typed = ", ".join(
                    f"CAST({identifier(name)} AS {_TYPES[kind]}) AS {identifier(name)}"
                    for name, kind in zip(names, kinds, strict=True)
                )
                select = (
                    "SELECT __u AS u, __i AS i, __t AS t FROM "
                    f"(SELECT {typed}, {named.replace('{}', '__')} FROM {scan}) "
                    f"WHERE ({self.where}\n)"
                )
            return read_rows(
                connection,
                select,
                source=source,
                columns=[self.user, self.item, *([self.time] if timed else [])],
                into=into,
                stage=True,
                has_time=timed,
                time_format=self.time_format,
                header=(header[names.index(self.user)], header[names.index(self.item)]),
            )
