"""Read the click logs of OTTO, Yoochoose and Diginetica, one history a session."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import duckdb
from pydantic import Field

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.readers._files import Files, first_lines, opened
from scalelab.datasets.readers._options import Encoding
from scalelab.datasets.readers._rows import read_rows
from scalelab.datasets.readers._workspace import literal, shown, workspace

__all__ = ["Sessions"]

_SELECTS = {
    "otto": """
        SELECT session AS u, event.aid AS i, event.ts AS t FROM (
            SELECT session, unnest(events) AS event FROM read_json(
                {file}, hive_partitioning = false, format = 'newline_delimited', columns = {{
                    'session': 'VARCHAR',
                    'events': 'STRUCT(aid VARCHAR, ts VARCHAR, type VARCHAR)[]'
                }}))""",
    "yoochoose": """
        SELECT u, i, t FROM read_csv(
            {file}, hive_partitioning = false, delim = ',', header = false,
            auto_detect = false, columns = {{
                'u': 'VARCHAR', 't': 'VARCHAR', 'i': 'VARCHAR', 'category': 'VARCHAR'}})""",
    # The time frame counts milliseconds within a session; dates order sessions.
    "diginetica": """
        SELECT sessionId AS u, itemId AS i, epoch_ms(eventdate) + timeframe AS t FROM read_csv(
            {file}, hive_partitioning = false, delim = ';', header = true,
            auto_detect = false, columns = {{
                'sessionId': 'VARCHAR', 'userId': 'VARCHAR', 'itemId': 'VARCHAR',
                'timeframe': 'BIGINT', 'eventdate': 'DATE'}})""",
}
_DIGINETICA = ("sessionId", "userId", "itemId", "timeframe", "eventdate")


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """One history a session. `form` "auto" tells the three apart by their first line.

    OTTO: a JSON object a line, {"session", "events": [{"aid", "ts", "type"}]}; `events` chooses a
    type, such as "clicks" (empty: all). Yoochoose: yoochoose-clicks.dat,
    `session,time,item,category`. Diginetica: train-item-views.csv,
    `sessionId;userId;itemId;timeframe;eventdate`, timed by date and then by time frame.
    """

    form: Annotated[
        Literal["auto", "otto", "yoochoose", "diginetica"],
        Field(description="whose click log it is; auto: by its first line"),
    ] = "auto"
    events: Annotated[
        str,
        Field(description="type of OTTO's events, such as clicks; empty: all"),
    ] = ""
    encoding: Encoding = "utf-8"

    needs_path: ClassVar[bool] = True

    def read(self, path: Path | None, into: Path | None = None) -> Interactions:
        """Sessions in the order of ids, events by time and place in the file. Raises DataError."""
        assert path is not None
        with opened(path, self.encoding, into) as files, workspace(path, into) as connection:
            form = self._form(connection, files, path) if self.form == "auto" else self.form
            select = _SELECTS[form].format(file=files.sql)
            if form == "otto" and self.events:
                select += f" WHERE event.type = {literal(self.events)}"
            return read_rows(connection, select, source=path, into=into, stage=True)

    def _form(
        self, connection: duckdb.DuckDBPyConnection, files: Files, path: Path
    ) -> Literal["otto", "yoochoose", "diginetica"]:
        [first, *_] = first_lines(connection, files.paths[0], 1) or [""]
        if first.startswith("{"):
            return "otto"
        if first.split(";") == list(_DIGINETICA):
            return "diginetica"
        if first.count(",") == 3 and first.split(",")[0].isdigit():
            return "yoochoose"
        raise DataError(
            f"{path} has the form of none of OTTO, Yoochoose and Diginetica: {shown(first)!r}",
            "set data.form, or read it with the reader 'table'",
        )
