"""Click logs of OTTO, Yoochoose and Diginetica in, sessions as histories out."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.readers._rows import literal, open_text, read_rows, workspace

__all__ = ["Sessions"]

_SELECTS = {
    "otto": """
        SELECT session AS u, event.aid AS i, event.ts AS t FROM (
            SELECT session, unnest(events) AS event FROM read_json(
                {file}, format = 'newline_delimited', columns = {{
                    'session': 'BIGINT', 'events': 'STRUCT(aid BIGINT, ts BIGINT, type VARCHAR)[]'
                }}))""",
    "yoochoose": """
        SELECT u, i, t FROM read_csv(
            {file}, delim = ',', header = false, auto_detect = false, columns = {{
                'u': 'BIGINT', 't': 'TIMESTAMP', 'i': 'BIGINT', 'category': 'VARCHAR'}})""",
    # The time frame counts milliseconds within a session; dates order sessions.
    "diginetica": """
        SELECT sessionId AS u, itemId AS i, epoch_ms(eventdate) + timeframe AS t FROM read_csv(
            {file}, delim = ';', header = true, auto_detect = false, columns = {{
                'sessionId': 'BIGINT', 'userId': 'VARCHAR', 'itemId': 'BIGINT',
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

    form: Literal["auto", "otto", "yoochoose", "diginetica"] = "auto"
    events: str = ""

    needs_path: ClassVar[bool] = True

    def read(self, path: Path | None, into: Path | None = None) -> Interactions:
        """Sessions in the order of ids, events by time and place in the file. Raises DataError."""
        assert path is not None
        form = self._form(path) if self.form == "auto" else self.form
        select = _SELECTS[form].format(file=literal(path))
        if form == "otto" and self.events:
            select += f" WHERE event.type = {literal(self.events)}"
        with workspace(path, into) as connection:
            return read_rows(connection, select, source=path, into=into, stage=True)

    def _form(self, path: Path) -> Literal["otto", "yoochoose", "diginetica"]:
        with open_text(path) as file:
            first = file.readline().strip()
        if first.startswith("{"):
            return "otto"
        if first.split(";") == list(_DIGINETICA):
            return "diginetica"
        if first.count(",") == 3 and first.split(",")[0].isdigit():
            return "yoochoose"
        raise DataError(
            f"{path} has the form of none of OTTO, Yoochoose and Diginetica: {first[:60]!r}",
            "set data.form, or read it with the reader 'table'",
        )
