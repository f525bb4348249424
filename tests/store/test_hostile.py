"""Neither a query nor a ledger of somebody else's reaches a file beside it, or a setting."""

import os

import duckdb
import pytest

from scalelab.core.errors import LedgerError
from scalelab.store import versions
from scalelab.store.ledger import Ledger

SECRET = "a secret of the machine"


@pytest.fixture
def folder(tmp_path):
    """A ledger with a file beside it."""
    (tmp_path / "secret.txt").write_text(SECRET)
    Ledger.create_or_open(tmp_path / "a.duckdb")
    return tmp_path


def files_of(folder):
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO '{}/out.csv'",
        "COPY (SELECT 1) TO '{}/a.duckdb.wal'",
        "COPY (SELECT 1) TO '{}/a.duckdb'",
        "SELECT 1; COPY (SELECT 1) TO '{}/a.duckdb.wal'",
        "EXPLAIN ANALYZE COPY (SELECT 1) TO '{}/a.duckdb.wal'",
        "PREPARE p AS COPY (SELECT 1) TO '{}/a.duckdb.wal'",
        "EXPORT DATABASE '{}/exported'",
        "ATTACH '{}/other.duckdb'",
        "CALL enable_logging(storage = 'file', storage_path = '{}/log')",
        "FROM Enable_Logging /* */ (storage = 'file', storage_path = '{}/log')",
        "WITH a AS (FROM enable_logging(storage = 'file', storage_path = '{}/log')) FROM a",
        "FROM query('FROM enable_logging(storage = ''file'', storage_path = ''{}/log'')')",
        "SET enable_external_access = true",
        "LOAD '{}/evil.duckdb_extension'",
        "PRAGMA profiling_output = '{}/profile'",
        "FROM read_text('{}/secret.txt')",
        "FROM read_csv('{}/secret.txt')",
        "FROM '{}/secret.txt'",
        "FROM glob('{}/*')",
        "FROM query('COPY (SELECT 1) TO ''{}/a.duckdb.wal''')",
        "DELETE FROM runs",
        "CREATE TABLE t (i INT)",
    ],
)
def test_a_query_reads_the_ledger_and_nothing_else(folder, sql):
    before = files_of(folder)
    with pytest.raises(LedgerError) as caught:
        Ledger(folder / "a.duckdb").query(sql.format(folder))
    assert SECRET not in str(caught.value)
    assert files_of(folder) == before


@pytest.mark.parametrize(
    "sql",
    ["DESCRIBE runs", "FROM runs", "SHOW TABLES", "VALUES (1)", "SELECT 'enable_logging()'"],
)
def test_a_query_may_ask_in_every_way(folder, sql):
    Ledger(folder / "a.duckdb").query(sql)


@pytest.fixture
def hostile(folder):
    """A ledger whose views and macros would read a file when asked, as if they were ours."""
    reading = f"SELECT content AS run_id FROM read_text('{folder}/secret.txt')"
    with duckdb.connect(str(folder / "a.duckdb")) as connection:
        connection.execute(f"CREATE OR REPLACE VIEW results AS {reading}")
        connection.execute(f"CREATE OR REPLACE MACRO best_under_budget(b) AS TABLE {reading}")
    return folder


@pytest.mark.parametrize("sql", ["FROM results", "FROM best_under_budget(1)"])
def test_views_and_macros_of_a_ledger_read_no_file(hostile, sql):
    with pytest.raises(LedgerError, match="query failed") as caught:
        Ledger(hostile / "a.duckdb").query(sql)
    assert SECRET not in str(caught.value)


def test_a_ledger_reads_no_file_when_it_is_written(hostile):
    """Its own version may come from a view; so may what a migration looks at."""
    path = hostile / "a.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("DROP TABLE meta")
        text = f"(SELECT content FROM read_text('{hostile}/secret.txt'))"
        connection.execute(f"CREATE VIEW meta AS SELECT length({text}) AS schema_version")
    before = os.listdir(hostile)
    with pytest.raises(LedgerError, match="disabled by configuration"):
        Ledger.create_or_open(path)
    assert os.listdir(hostile) == before


def test_a_migration_makes_hostile_views_anew(hostile, monkeypatch):
    path = hostile / "a.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta SET schema_version = 0")
    steps = dict.fromkeys(range(versions.SCHEMA_VERSION), lambda connection: None)
    monkeypatch.setattr(versions, "MIGRATIONS", steps)
    ledger = Ledger(path)
    assert ledger.query("FROM results").num_rows == 0
    assert ledger.query("FROM best_under_budget(1)").num_rows == 0


LOGGING = "enable_logging(storage = 'file', storage_path = '{}/log')"


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE OR REPLACE VIEW results AS FROM {LOGGING}",
        f"CREATE VIEW other AS SELECT * FROM (FROM /* */ {LOGGING.replace('e', 'E', 1)})",
        f"CREATE OR REPLACE MACRO best_under_budget(b) AS TABLE FROM {LOGGING}",
        "CREATE VIEW other AS FROM query('SELECT 1')",
        "CREATE MACRO other(text) AS TABLE FROM Query(text)",
        "CREATE SCHEMA s; CREATE VIEW s.other AS FROM \"query\" ('SELECT 1')",
        f"DROP TABLE meta; CREATE VIEW meta AS SELECT 1 AS schema_version FROM {LOGGING}",
    ],
)
def test_a_ledger_whose_views_would_write_a_log_is_not_opened(folder, statement):
    path = folder / "a.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(statement.format(folder))
        connection.execute("SET enable_logging = false")
    before = files_of(folder)
    for use in (
        lambda: Ledger(path).query("FROM runs"),
        lambda: Ledger(path).query("FROM results"),
        lambda: Ledger.create_or_open(path),
        lambda: versions.migrate(path, patience_s=1.0),
    ):
        with pytest.raises(LedgerError, match="calls enable_logging or query"):
            use()
    assert files_of(folder) == before


def test_a_ledger_is_looked_at_again_when_it_has_changed(folder):
    path = folder / "a.duckdb"
    assert Ledger(path).query("FROM runs").num_rows == 0
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE VIEW other AS FROM query('SELECT 1')")
    with pytest.raises(LedgerError, match="'other' calls"):
        Ledger(path).query("FROM runs")


def test_a_word_in_a_view_is_no_call(folder):
    path = folder / "a.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE VIEW other AS SELECT 'query' AS query, 1 AS my_query")
    assert Ledger(path).query("FROM other").num_rows == 1
