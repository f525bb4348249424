"""Print text, tables and JSON so that nothing in them controls the terminal.

Names and errors come from files that anybody may have written.
"""

import dataclasses
import errno
import json
import math
import os
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = [
    "clean",
    "console",
    "fail",
    "fits_terminal",
    "grid",
    "note",
    "one_line",
    "plain",
    "quiet_pipes",
    "say",
    "show_json",
    "show_rows",
]

# The width of tables in files and pipes, which have no width of their own.
_WIDTH_OF_FILES = 120
# Longer than any path; letters of an error message.
_MOST_SHOWN = 5000
# Control characters (C0 and C1) except tab and line end, marks that change the direction of
# writing, and surrogates, which stand for bytes that are not text.
_STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def fail(kind: str, message: str, hint: str, code: int, *, as_json: bool, detail: str = "") -> int:
    """Print one line of message, `detail` and one line of hint on standard error; return `code`."""
    message, hint = _shortened(one_line(message)), _shortened(one_line(hint))
    if as_json:
        show_json({"error": {"kind": kind, "message": message, "hint": hint}})
        return code
    note(f"error: {message}" if kind != "interrupted" else message)
    if detail:
        note(detail)
    if hint:
        note(f"hint: {hint}")
    return code


def _shortened(text: str) -> str:
    """A message that quotes what was given, which may be of any size, in a length to be read."""
    return text if len(text) <= _MOST_SHOWN else f"{text[:700]} ... {text[-200:]}"


def clean(text: str) -> str:
    """`text` with control characters written out, such as \\x1b, so that it is only shown."""
    return _STEERS.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}"


def one_line(text: str) -> str:
    """`text` on one line: each stretch of white space becomes one space."""
    return " ".join(str(text).split())


def note(text: str) -> None:
    """One line on standard error."""
    try:
        sys.stderr.write(f"{clean(text)}\n")
        sys.stderr.flush()
    except OSError as error:  # standard error is closed; the work goes on
        if error.errno not in (errno.EPIPE, errno.EIO, errno.EBADF):
            raise


def show_json(document: Any) -> None:
    """One JSON document on standard output."""
    text = json.dumps(plain(document), indent=2, ensure_ascii=False, allow_nan=False)
    _write(f"{_safe_json(text)}\n")


def show_rows(text: str, *, as_json: bool) -> None:
    """Rows on standard output; control characters are written out where that is a terminal."""
    if as_json:
        text = _safe_json(text)
    _write(clean(text) if sys.stdout.isatty() else text)


def say(text: str, *, wrap: bool = False) -> None:
    """One line on standard output; with `wrap` it is broken between words in a terminal."""
    console().print(clean(text), soft_wrap=not (wrap and sys.stdout.isatty()))


def _safe_json(text: str) -> str:
    """The same document with control characters as JSON escapes."""
    return _STEERS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: no dataclass, path, time, enum or number that is not finite."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return plain(pairs)
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    dump = getattr(value, "model_dump", None) or getattr(value, "tolist", None)
    return plain(dump()) if dump is not None else str(value)


def console(*, stderr: bool = False, width: int | None = None) -> "Console":
    """A rich console on one stream; outside a terminal it writes no control codes, cuts no line.

    Markup in a text is not interpreted: styles are given in code.
    """
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    wide = None if stream.isatty() or "COLUMNS" in os.environ else _WIDTH_OF_FILES
    return Console(
        file=stream,
        width=width or wide,
        highlight=False,
        soft_wrap=False,
        emoji=False,
        markup=False,
    )


def grid(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    title: str = "",
    right: str = "",
    width: int | None = None,
) -> "RenderableType":
    """A table of text cells; the columns named in `right` (space between) hold numbers.

    It fits in `width`, without which it is as wide as the console.
    """
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    numbers = right.split()
    columns, rows = _cleaned(columns, rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    widths = _widths(columns, rows, numbers, width or console().width) or [None] * len(columns)
    for column, wide in zip(columns, widths, strict=True):
        side = "right" if column in numbers else "left"
        table.add_column(Text(column), justify=side, overflow="fold", width=wide)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    # A title of the table's own would be wrapped to the width of the table.
    return Group(Text(clean(title), style="bold"), table) if title else table


def _cleaned(
    columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    return [*map(clean, columns)], [[*map(clean, row)] for row in rows]


def fits_terminal(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = ""
) -> bool:
    """Whether the grid of these can be shown without a word or a number cut in two."""
    return _widths(*_cleaned(columns, rows), right.split(), console().width) is not None


def _widths(
    columns: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[str], width: int
) -> list[int] | None:
    """Widths in which no word and no number is cut in two; None where the width is too small."""
    cells = list(zip(columns, *rows, strict=True))
    widths = [max(len(line) for cell in column for line in cell.split("\n")) for column in cells]
    least = [
        wide
        if name in numbers
        else max((len(word) for cell in column for word in cell.split()), default=0)
        for name, wide, column in zip(columns, widths, cells, strict=True)
    ]
    while sum(widths) + 3 * len(widths) > width:
        wider = [index for index, wide in enumerate(widths) if wide > least[index]]
        if not wider:
            return None
        widths[max(wider, key=widths.__getitem__)] -= 1
    return widths


def quiet_pipes() -> None:
    """Let the interpreter end without complaint where the reader of a pipe has gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            # Its buffer would be flushed again, and fail again, when the interpreter ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
