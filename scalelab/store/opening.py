# duckdb and pyarrow carry too few types for these.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportMissingTypeStubs=false
"""Open the ledger for one short visit, and wait for others that hold it."""

import re
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from scalelab.core.errors import LedgerError

__all__ = ["PATIENCE_S", "LedgerBusy", "first_line", "opened"]

PATIENCE_S = 10.0
# Ledgers written by a newer DuckDB stay readable for this one and later.
_STORAGE = "v1.4.0"
_Config = dict[str, str | bool | int | float | list[str]]
# The ledger may be somebody else's: its views and macros see no files, extensions or settings.
_LOCKED: _Config = {
    "enable_external_access": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
    "lock_configuration": "true",
}
# One commit never needs more, and the cores belong to the runs.
_WRITING: _Config = {**_LOCKED, "threads": "1", "storage_compatibility_version": _STORAGE}
_PAUSES_S = (0.005, 0.05)

# As DuckDB writes the SQL of views and macros anew, without comments.
_FORBIDDEN = re.compile(r"enable_logging|\bquery\"?\s*\(", re.IGNORECASE)
# The files that were looked at, by their state.
_checked: dict[Path, tuple[tuple[int, int, int], ...]] = {}

# DuckDB locks files against other processes; within one, connections must take turns themselves.
_guards: dict[Path, threading.Lock] = {}
_guards_guard = threading.Lock()


class LedgerBusy(LedgerError):
    """A ledger that another program holds: what failed now can work later."""


@contextmanager
def opened(
    path: Path, *, write: bool = False, patience_s: float = PATIENCE_S
) -> Generator[duckdb.DuckDBPyConnection, None, None]:
    """The database at `path`, opened, lent and closed, after at most `patience_s` s of waiting.

    The connection sees nothing but the ledger: no other files, no extensions, no settings.
    Raises LedgerBusy when the file stays taken, LedgerError when it cannot be opened.
    """
    deadline = time.monotonic() + patience_s
    guard = _guard(path)
    if not guard.acquire(timeout=max(patience_s, 0.0)):
        raise _taken(path, "another thread of this process", patience_s)
    try:
        is_new = not path.exists()
        connection = _connect(path, write, deadline, patience_s)
        is_checked = False
        try:
            if not is_new:
                _check_views(connection, path)
            is_checked = True
            yield connection
        finally:
            connection.close()
            # What was written here added no view but our own, so the new state is known too.
            if write and is_checked:
                _checked[path.resolve()] = _state_of(path)
    finally:
        guard.release()


def _state_of(path: Path) -> tuple[tuple[int, int, int], ...]:
    """What changes when somebody writes the database, or its log."""
    parts = (path, path.with_name(f"{path.name}.wal"))
    states = [part.stat() for part in parts if part.exists()]
    return tuple((state.st_ino, state.st_size, state.st_mtime_ns) for state in states)


def _check_views(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Raises LedgerError where a view or macro of the file calls what no ledger needs.

    DuckDB 1.4 ends the whole process where a view that is read calls enable_logging; `query` makes
    a call of any text. A file that has not changed since is not looked at again.
    """
    try:
        seen = _state_of(path)
        if _checked.get(path.resolve()) == seen:
            return
        rows = connection.execute(
            "SELECT view_name, sql FROM duckdb_views() WHERE NOT internal UNION ALL "
            "SELECT function_name, macro_definition FROM duckdb_functions() "
            "WHERE NOT internal AND function_type IN ('macro', 'table_macro')"
        ).fetchall()
    except (OSError, duckdb.Error) as error:
        hint = "restore it from a copy, or move it away and sweep again"
        raise LedgerError(f"{path} is damaged: {first_line(error)}", hint) from error
    for name, sql in rows:
        if _FORBIDDEN.search(str(sql)):
            raise LedgerError(
                f"{path} is not opened: its view or macro {name!r} calls enable_logging or query",
                "no scalelab writes such a one: do not trust the file, or drop it with DuckDB",
            )
    _checked[path.resolve()] = seen


def first_line(error: BaseException) -> str:
    """The first line of DuckDB's message, without the kind of error before it."""
    line = str(error).strip().partition("\n")[0]
    return re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", line)


def _guard(path: Path) -> threading.Lock:
    with _guards_guard:
        return _guards.setdefault(path.resolve(), threading.Lock())


def _connect(
    path: Path, write: bool, deadline: float, patience_s: float
) -> duckdb.DuckDBPyConnection:
    config = _WRITING if write else _LOCKED
    pause = _PAUSES_S[0]
    while True:
        try:
            return duckdb.connect(str(path), read_only=not write, config=config)
        except duckdb.Error as error:
            holder = _holder(error)
            if holder is None:
                message = first_line(error)
                hint = "give the ledger of a sweep, or move this file away and sweep again"
                if "Permission denied" in message:
                    hint = "see its rights, or give a file that is yours: --ledger FILE"
                raise LedgerError(f"cannot open {path}: {message}", hint) from error
            if time.monotonic() + pause > deadline:
                raise _taken(path, holder, patience_s) from error
        time.sleep(pause)
        pause = min(pause * 1.5, _PAUSES_S[1])


def _holder(error: duckdb.Error) -> str | None:
    """Who holds the file, where that is what the error says."""
    text = str(error)
    if "different configuration" in text:
        return "a DuckDB connection of this process"
    if "Could not set lock" not in text:
        return None
    found = re.search(r"held in (.+?\(PID \d+\))", text)
    return found[1] if found else "another process"


def _taken(path: Path, holder: str, patience_s: float) -> LedgerBusy:
    message = f"{path} is held by {holder}; gave up after {patience_s:g} s"
    return LedgerBusy(message, "close that program, or try again when it is done")
