# duckdb and pyarrow carry too few types for these.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# pyright: reportMissingTypeStubs=false
"""Store records in one DuckDB file, and answer SQL about them."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from scalelab.core.errors import LedgerError
from scalelab.core.records import UNFINISHED, Baseline, Outcome, Record
from scalelab.store import versions
from scalelab.store.lock import driver_lock
from scalelab.store.opening import PATIENCE_S, first_line, opened
from scalelab.store.reading import check_reads_only, plain_numbers, query_failed, with_products
from scalelab.store.schema import run_columns, table_of_baselines, tables_of
from scalelab.store.writer import LedgerWriter

__all__ = ["Attempt", "Ledger", "WaitingRecords"]

_CHILDREN = ("metrics", "memory", "timeline", "samples", "environments", "user_ranks")
# A store that takes longer is tried again; its records are kept beside the ledger meanwhile.
_STORE_PATIENCE_S = 5.0
# The ledger that this thread keeps open for several queries, and its connection.
_kept_open: ContextVar[tuple[Path, duckdb.DuckDBPyConnection] | None] = ContextVar(
    "_kept_open", default=None
)


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What the ledger knows of a fingerprint: its finished attempt, else its last one."""

    fingerprint: str
    run_id: str
    study_id: str | None
    outcome: Outcome
    attempt: int
    last_attempt: int


class Ledger:
    """One DuckDB file, opened for the moment of each call.

    Every method raises LedgerError, with one clear line, where the file is missing, damaged, of a
    newer version, not to be written, or still held by someone else after `patience_s` seconds.
    """

    def __init__(self, path: str | Path, *, patience_s: float = PATIENCE_S) -> None:
        self.path = Path(path)
        self.patience_s = patience_s

    @classmethod
    def create_or_open(cls, path: str | Path, *, patience_s: float = PATIENCE_S) -> "Ledger":
        """The ledger at `path`, made if there is none, brought to this version if it is older."""
        ledger = cls(path, patience_s=patience_s)
        if not ledger.path.exists():
            versions.create(ledger.path)
        with ledger._open(write=True):
            return ledger

    def append(self, records: Sequence[Record]) -> None:
        """Stores all of `records` or none. A run of the same id is replaced, with its children."""
        by_id = {record.run.run_id: record for record in records}
        if not by_id:
            return
        try:
            tables = tables_of(list(by_id.values()))
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            raise LedgerError(f"a record cannot be stored: {error}") from error
        with self._open(write=True) as connection, _transaction(connection, self.path):
            _replace_runs(connection, tables)
            baselines = [b for record in by_id.values() for b in record.baselines]
            _replace_baselines(connection, table_of_baselines(_unique(baselines)))

    def take_over(self, other: "Ledger") -> None:
        """Store all runs and baselines of another ledger here; all or none."""
        written = ", ".join(run_columns())  # the others are generated from these
        tables = {"runs": other.query(f"SELECT {written} FROM runs")}
        tables |= {name: other.query(f"FROM {name}") for name in _CHILDREN}
        baselines = other.query("FROM baselines")
        with self._open(write=True) as connection, _transaction(connection, self.path):
            _replace_runs(connection, tables)
            _replace_baselines(connection, baselines)

    def add_study(self, study_id: str, name: str, spec_toml: str, created_at: datetime) -> None:
        """Stores a study as it was requested, in place of one of the same id."""
        with self._open(write=True) as connection, _transaction(connection, self.path):
            connection.execute("DELETE FROM studies WHERE study_id = ?", [study_id])
            row = [study_id, name, spec_toml, created_at]
            connection.execute("INSERT INTO studies VALUES (?, ?, ?, ?)", row)

    def add_reused(self, study_id: str, fingerprints: Sequence[str]) -> None:
        """Stores that a study takes these runs from another one, in place of running them again."""
        with self._open(write=True) as connection, _transaction(connection, self.path):
            connection.execute(
                "INSERT INTO reused_runs SELECT DISTINCT $study_id, fingerprint "
                "FROM (SELECT unnest($fingerprints) AS fingerprint) "
                "ANTI JOIN (FROM reused_runs WHERE study_id = $study_id) USING (fingerprint)",
                {"study_id": study_id, "fingerprints": list(fingerprints)},
            )

    def add_baselines(self, baselines: Sequence[Baseline]) -> None:
        """Stores them in place of those of the same data set, protocol, name, split, metric and k;
        all or none."""
        with self._open(write=True) as connection, _transaction(connection, self.path):
            _replace_baselines(connection, table_of_baselines(_unique(baselines)))

    def baselines_known(self) -> set[tuple[str, str, str, int | None]]:
        """Data fingerprint, protocol, name and k of the baselines that are stored."""
        rows = self.query("SELECT DISTINCT data_fingerprint, protocol, name, k FROM baselines")
        return {tuple(row.values()) for row in rows.to_pylist()}

    @contextmanager
    def reading(self) -> Generator[None, None, None]:
        """Open the ledger once for all queries of this thread inside, which see the same rows.

        Nobody can write meanwhile: only read inside, and draw or compute afterwards.
        """
        with self._open_to_read() as connection:
            token = _kept_open.set((self.path, connection))
            try:
                yield
            finally:
                _kept_open.reset(token)

    def query(self, sql: str, params: Sequence[Any] | Mapping[str, Any] | None = None) -> pa.Table:
        """The rows that `sql` selects. It reads the ledger, nothing else, and never writes."""
        with self._open_to_read() as connection:
            try:
                check_reads_only(connection, sql)
                relation: Any = connection.sql(with_products(sql), params=params)
                # Not `if relation`: its truth is that it has rows.
                rows = pa.table({}) if relation is None else relation.to_arrow_table()
            except duckdb.Error as error:
                raise query_failed(connection, sql, error, _CHILDREN) from error
        return plain_numbers(rows)

    def attempts(self) -> dict[str, Attempt]:
        """By fingerprint, the attempt that counts: a done one before others, then the latest."""
        rows = self.query(
            """
            SELECT fingerprint, run_id, study_id, outcome, attempt,
                   max(attempt) OVER (PARTITION BY fingerprint) AS last_attempt
            FROM runs
            QUALIFY row_number() OVER (
                PARTITION BY fingerprint
                ORDER BY outcome = 'done' DESC, attempt DESC, started_at DESC, run_id
            ) = 1
            """
        )
        return {
            row["fingerprint"]: Attempt(outcome=Outcome(row.pop("outcome")), **row)
            for row in rows.to_pylist()
        }

    def finished(self) -> dict[str, Outcome]:
        """By fingerprint, the outcome of what has come to an end: not running nor interrupted."""
        attempts = self.attempts().items()
        return {key: a.outcome for key, a in attempts if a.outcome not in UNFINISHED}

    def interrupt_running(self) -> list[str]:
        """Marks runs that a killed driver left as interrupted; only for who holds the lock."""
        with self._open(write=True) as connection, _transaction(connection, self.path):
            rows = connection.execute(
                "UPDATE runs SET outcome = 'interrupted', error = 'its driver ended before it did' "
                "WHERE outcome = 'running' RETURNING run_id"
            ).fetchall()
        return sorted(run_id for (run_id,) in rows)

    @contextmanager
    def writing(self, *, patience_s: float | None = None) -> Generator[LedgerWriter, None, None]:
        """The one driver's writer; runs that a killed driver left behind are interrupted first.

        While another program holds the ledger, records wait in a ledger of their own beside it;
        those of an earlier sweep are stored first. On leaving, all is committed, or after
        `patience_s` (None: two minutes) LedgerBusy is raised. Raises LedgerError while another
        driver holds the ledger.
        """
        with driver_lock(self.path):
            waiting = WaitingRecords(self.path)
            if waiting.ledger.path.exists():
                self.take_over(waiting.ledger)
                waiting.clear()
            left = self.interrupt_running()
            store = Ledger(self.path, patience_s=_STORE_PATIENCE_S).append
            with LedgerWriter(
                store, waiting=waiting, left_running=tuple(left), patience_s=patience_s
            ) as writer:
                yield writer

    @contextmanager
    def _open_to_read(self) -> Generator[duckdb.DuckDBPyConnection, None, None]:
        kept = _kept_open.get()
        if kept is not None and kept[0] == self.path:
            yield kept[1]
            return
        with self._open() as connection:
            yield connection

    @contextmanager
    def _open(self, write: bool = False) -> Generator[duckdb.DuckDBPyConnection, None, None]:
        versions.check_file(self.path)
        with opened(self.path, write=write, patience_s=self.patience_s) as connection:
            found = versions.version_of(connection, self.path)
            if found == versions.SCHEMA_VERSION:
                yield connection
                return
        versions.migrate(self.path, patience_s=self.patience_s)
        with opened(self.path, write=write, patience_s=self.patience_s) as connection:
            yield connection


class WaitingRecords:
    """Records of a ledger that another program holds, in a ledger of their own beside it."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(path.with_name(path.name + ".waiting"))

    def append(self, records: Sequence[Record]) -> None:
        """Store records. Raises LedgerError."""
        Ledger.create_or_open(self.ledger.path).append(records)

    def clear(self) -> None:
        """Remove the file: its records are in the ledger."""
        self.ledger.path.unlink(missing_ok=True)


@contextmanager
def _transaction(connection: duckdb.DuckDBPyConnection, path: Path) -> Generator[None, None, None]:
    try:
        connection.begin()
        yield
        connection.commit()
    except duckdb.Error as error:
        hint = "see the free space and the rights of that folder; what was stored before is kept"
        raise LedgerError(f"cannot write {path}: {first_line(error)}", hint) from error


def _unique(baselines: Sequence[Baseline]) -> list[Baseline]:
    """Each once: rows of one key in a batch, of two runs that both brought them, are the same."""
    keyed = {(b.data_fingerprint, b.protocol, b.name, b.split, b.metric, b.k): b for b in baselines}
    return list(keyed.values())


def _replace_runs(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, pa.Table]) -> None:
    connection.register("staged_ids", tables["runs"].select(["run_id"]))
    _delete(connection)
    for name, table in tables.items():
        if table.num_rows:
            connection.register("staged", table)
            connection.execute(f"INSERT INTO {name} BY NAME SELECT * FROM staged")
            connection.unregister("staged")


def _replace_baselines(connection: duckdb.DuckDBPyConnection, baselines: pa.Table) -> None:
    if not baselines.num_rows:
        return
    connection.register("staged", baselines)
    connection.execute(
        "DELETE FROM baselines WHERE EXISTS (FROM staged WHERE "
        "staged.data_fingerprint = baselines.data_fingerprint AND "
        "staged.protocol = baselines.protocol AND staged.name = baselines.name AND "
        "staged.split = baselines.split AND staged.metric = baselines.metric AND "
        "staged.k IS NOT DISTINCT FROM baselines.k)"
    )
    connection.execute("INSERT INTO baselines BY NAME SELECT * FROM staged")
    connection.unregister("staged")


def _delete(connection: duckdb.DuckDBPyConnection) -> None:
    """Takes out the staged runs. Children are looked for, by a scan, only where there are some."""
    known = connection.execute(
        "SELECT count(*), coalesce(sum(num_children), 0) FROM runs "
        "WHERE run_id IN (SELECT run_id FROM staged_ids)"
    ).fetchall()[0]
    for name in ("runs",) * bool(known[0]) + _CHILDREN * bool(known[1]):
        connection.execute(f"DELETE FROM {name} WHERE run_id IN (SELECT run_id FROM staged_ids)")
