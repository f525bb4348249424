"""A RecBole .inter file (tab-separated, typed header) in, interactions out."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.readers._rows import (
    NO_TIME,
    check_columns,
    identifier,
    literal,
    open_text,
    read_rows,
    workspace,
)

__all__ = ["Recbole"]

# The types of RecBole's atomic files; sequences are no single value.
_TYPES = {"token": "VARCHAR", "float": "DOUBLE", "token_seq": "VARCHAR", "float_seq": "VARCHAR"}


@dataclass(frozen=True, kw_only=True)
class Recbole:
    """Header `user_id:token`, `item_id:token`, `timestamp:float`; options are names without type.

    Tokens are text, numbered in the order of first appearance. An empty `time` takes the order of
    the file.
    """

    user: str = "user_id"
    item: str = "item_id"
    time: str = "timestamp"
    where: str = ""

    needs_path: ClassVar[bool] = True

    def read(self, path: Path | None, into: Path | None = None) -> Interactions:
        """Rows sorted by user, time and place in the file. Raises DataError."""
        assert path is not None
        with open_text(path) as file:
            header = file.readline().rstrip("\r\n").split("\t")
        names = [column.partition(":")[0] for column in header]
        kinds = [column.partition(":")[2] for column in header]
        if any(kind not in _TYPES for kind in kinds):
            hint = "the first line names columns as name:type, with types " + ", ".join(_TYPES)
            raise DataError(
                f"{path} is no .inter file: its header is {' '.join(header)[:80]!r}", hint
            )
        wanted = {"user": self.user, "item": self.item}
        check_columns(names, wanted | ({"time": self.time} if self.time else {}), path)
        columns = ", ".join(
            f"{literal(name)}: {literal(_TYPES[kind])}"
            for name, kind in zip(names, kinds, strict=True)
        )
        form = (
            f"read_csv({literal(path)}, delim = '\t', header = true, quote = '', escape = '', "
            f"auto_detect = false, columns = {{{columns}}})"
        )
        time = identifier(self.time) if self.time else NO_TIME
        where = f" WHERE {self.where}" if self.where else ""
        with workspace(path, into) as connection:
            return read_rows(
                connection,
                f"SELECT {identifier(self.user)} AS u, {identifier(self.item)} AS i, {time} AS t "
                f"FROM {form}{where}",
                source=path,
                into=into,
                stage=True,
            )
