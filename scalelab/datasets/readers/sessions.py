"""Read the click logs of OTTO, Yoochoose and Diginetica, one history per session."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import duckdb
from pydantic import Field

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.locate import Location
from scalelab.datasets.readers._click_logs import whose_click_log
from scalelab.datasets.readers._connection import literal, shown
from scalelab.datasets.readers._files import Files, first_lines, opened
from scalelab.datasets.readers._options import Encoding
from scalelab.datasets.readers._rows import read_rows

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
# Where user, item and time stand.
_COLUMNS = {
    "otto": ("session", "events.aid", "events.ts"),
    "yoochoose": ("column 1", "column 3", "column 2"),
    "diginetica": ("sessionId", "itemId", "eventdate + timeframe"),
}


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """One history per session. `format` "auto" recognises the three by their first line.

    OTTO: one JSON object per line, {"session", "events": [{"aid", "ts", "type"}]}; `events` chooses
    a type, such as "clicks" (empty: all). Yoochoose: yoochoose-clicks.dat,
    `session,time,item,category`. Diginetica: train-item-views.csv,
    `sessionId;userId;itemId;timeframe;eventdate`, timed by date and then by time frame.
    """

    format: Annotated[
        Literal["auto", "otto", "yoochoose", "diginetica"],
        Field(description="whose click log it is; auto: by its first line"),
    ] = "auto"
    events: Annotated[
        str,
        Field(description="type of OTTO's events, such as clicks; empty: all"),
    ] = ""
    encoding: Encoding = "utf-8"

    def read(self, source: Location, into: Path | None = None) -> Interactions:
        """Sessions in the order of ids, events by time and place in the file. Raises DataError."""
        with opened(source, self.encoding, into) as (files, connection):
            format = (
                self._format(connection, files, source) if self.format == "auto" else self.format
            )
            select = _SELECTS[format].format(file=files.sql)
            if format == "otto" and self.events:
                select += f" WHERE event.type = {literal(self.events)}"
            return read_rows(
                connection,
                select,
                source=source,
                columns=_COLUMNS[format],
                into=into,
                stage=True,
            )

    def _format(
        self, connection: duckdb.DuckDBPyConnection, files: Files, source: Location
    ) -> Literal["otto", "yoochoose", "diginetica"]:
        [first, *_] = first_lines(connection, files.paths[0], 1) or [""]
        if first.startswith("{"):
            return "otto"
        if whose_click_log(first.split(";")) == "Diginetica":
            return "diginetica"
        if first.count(",") == 3 and first.split(",")[0].isdigit():
            return "yoochoose"
        raise DataError(
            f"{source} is not a click log of OTTO, Yoochoose or Diginetica: {shown(first)!r}",
            'set data.reader = "table"',
        )
