# duckdb and pyarrow carry too few types for these.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportMissingTypeStubs=false
"""Create ledgers, and bring older ones to the schema version of today."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from scalelab.core.errors import LedgerError
from scalelab.store.lock import is_locked
from scalelab.store.migrations import MIGRATIONS, rebuild
from scalelab.store.opening import first_line, opened
from scalelab.store.schema import SCHEMA_VERSION, created_by, schema_sql

__all__ = ["SCHEMA_VERSION", "check_file", "create", "migrate", "version_of"]


def check_file(path: Path) -> None:
    """Raises LedgerError where `path` is not a file, or an empty one."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not there"
        hint = "give the .duckdb file that a sweep wrote"
        raise LedgerError(f"no ledger at {path}: it {what}", hint)
    if path.stat().st_size == 0:
        hint = "remove it, or give another name, and sweep again"
        raise LedgerError(f"{path} is empty and not a ledger", hint)


def create(path: Path) -> None:
    """A new ledger at `path`, which appears there only when it is whole. Raises LedgerError."""
    if path.parent.exists() and not path.parent.is_dir():
        hint = "give a file in a folder that you may write: --ledger FILE"
        raise LedgerError(f"cannot create the ledger {path}: {path.parent} is a file", hint)
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened(draft, write=True) as connection:
            connection.begin()  # one commit, not one for each table and view
            connection.execute(schema_sql())
            now = datetime.now(UTC).replace(tzinfo=None)
            row = [SCHEMA_VERSION, created_by(), now]
            connection.execute("INSERT INTO meta VALUES (?, ?, ?)", row)
            connection.commit()
        # Not os.replace: of two processes that create it at once, the second keeps the first's.
        os.link(draft, path)
    except FileExistsError:
        check_file(path)
    except (OSError, duckdb.Error, LedgerError) as error:
        reason = error.strerror if isinstance(error, OSError) else first_line(error)
        hint = "give a file in a folder that you may write: --ledger FILE"
        raise LedgerError(f"cannot create the ledger {path}: {reason}", hint) from error
    finally:
        for left in (draft, draft.with_name(draft.name + ".wal")):
            if left.exists():
                left.unlink()


def version_of(connection: duckdb.DuckDBPyConnection, path: Path) -> int:
    """The schema version of an open ledger. Raises LedgerError where it is newer, or no ledger."""
    try:
        rows = connection.execute("SELECT schema_version FROM meta").fetchall()
    except duckdb.CatalogException as error:
        hint = "give the .duckdb file that a sweep wrote"
        raise LedgerError(f"{path} is a DuckDB file but no ledger", hint) from error
    except duckdb.Error as error:
        hint = "restore it from a copy, or move it away and sweep again"
        raise LedgerError(f"{path} is damaged: {first_line(error)}", hint) from error
    version = int(rows[0][0]) if rows else 0
    if version > SCHEMA_VERSION:
        message = f"{path} has schema version {version}; this scalelab knows up to {SCHEMA_VERSION}"
        raise LedgerError(message, "pip install --upgrade scalelab")
    if version < SCHEMA_VERSION and version not in MIGRATIONS:
        message = f"{path} has schema version {version}, which no migration starts from"
        raise LedgerError(message, "open it with the scalelab that wrote it")
    return version


def migrate(path: Path, *, patience_s: float) -> None:
    """Brings an older ledger to this version and keeps `PATH.bak-vN`. Raises LedgerError, also
    while a sweep writes it: that of an older scalelab could then store nothing more.
    """
    with opened(path, write=True, patience_s=patience_s) as connection:
        version = version_of(connection, path)
        if version == SCHEMA_VERSION:
            return
        if is_locked(path):
            message = f"a sweep of an older scalelab writes {path} (schema version {version})"
            raise LedgerError(message, "wait for its end, or read it with that scalelab")
        backup = path.with_name(f"{path.name}.bak-v{version}")
        try:
            connection.execute("CHECKPOINT")
            shutil.copyfile(path, backup)
            connection.begin()
            for step in range(version, SCHEMA_VERSION):
                MIGRATIONS[step](connection)
            rebuild(connection)
            connection.execute("UPDATE meta SET schema_version = ?", [SCHEMA_VERSION])
            connection.commit()
        except (OSError, duckdb.Error) as error:
            message = f"cannot bring {path} from schema version {version} to {SCHEMA_VERSION}"
            hint = "it is unchanged; look at the free space and the rights of its folder"
            raise LedgerError(f"{message}: {first_line(error)}", hint) from error
