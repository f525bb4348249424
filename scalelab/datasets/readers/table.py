"""A parquet, csv, tsv or jsonl file with one interaction a row in, interactions out."""

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
    read_rows,
    workspace,
)

__all__ = ["Table"]

_USUAL = {
    "user": ("user", "user_id", "userid", "uid", "session", "session_id", "visitorid"),
    "item": ("item", "item_id", "itemid", "iid", "movieid", "product_id", "aid"),
    "time": ("ts", "timestamp", "time", "datetime", "date", "unixreviewtime"),
}
_FORMS = {
    ".parquet": "read_parquet({file})",
    ".pq": "read_parquet({file})",
    ".csv": "read_csv({file}, header = true)",
    ".tsv": "read_csv({file}, header = true, delim = '\\t')",
    ".jsonl": "read_json({file}, format = 'newline_delimited')",
    ".ndjson": "read_json({file}, format = 'newline_delimited')",
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns `user`, `item` and `time` by name; an empty name takes the usual one that is there.

    Without a time column the order of the file counts. `where` is an SQL condition on the columns,
    such as `rating >= 4`. Text ids are welcome.
    """

    user: str = ""
    item: str = ""
    time: str = ""
    where: str = ""

    needs_path: ClassVar[bool] = True

    def read(self, path: Path | None, into: Path | None = None) -> Interactions:
        """Rows sorted by user, time and place in the file. Raises DataError."""
        assert path is not None
        suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
        if suffix.lower() not in _FORMS:
            hint = f"it reads {', '.join(_FORMS)}; other forms have readers of their own"
            raise DataError(f"the reader 'table' cannot read {path.name!r}", hint)
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty", "check the file")
        form = _FORMS[suffix.lower()].format(file=literal(path))
        with workspace(path, into) as connection:
            described = connection.execute(f"DESCRIBE SELECT * FROM {form}").fetchall()
            columns = self._columns([name for name, *_ in described], path)
            where = f" WHERE {self.where}" if self.where else ""
            user, item = identifier(columns["user"]), identifier(columns["item"])
            time = identifier(columns["time"]) if "time" in columns else NO_TIME
            return read_rows(
                connection,
                f"SELECT {user} AS u, {item} AS i, {time} AS t FROM {form}{where}",
                source=path,
                into=into,
                stage="parquet" not in form,
            )

    def _columns(self, found: list[str], path: Path) -> dict[str, str]:
        asked = {"user": self.user, "item": self.item, "time": self.time}
        check_columns(found, {option: name for option, name in asked.items() if name}, path)
        chosen = {option: name for option, name in asked.items() if name}
        lower = {name.lower(): name for name in reversed(found)}
        for option, usual in _USUAL.items():
            match = next((lower[name] for name in usual if name in lower), None)
            if option not in chosen and match is not None:
                chosen[option] = match
        for option in ("user", "item"):
            if option not in chosen:
                hint = f"set data.{option} to one of: {', '.join(found)}"
                raise DataError(f"{path} has no column called {option!r}", hint)
        return chosen
