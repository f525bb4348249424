"""Files that cannot be used give one clear line; what was acknowledged survives."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import duckdb
import pytest

from scalelab.core.errors import LedgerError
from scalelab.store import versions
from scalelab.store.ledger import Ledger

FAKE = Path(__file__).with_name("fake.py")
PROLOGUE = f"""
import sys, importlib.util
spec = importlib.util.spec_from_file_location("fake", {str(FAKE)!r})
fake = importlib.util.module_from_spec(spec)
sys.modules["fake"] = fake
spec.loader.exec_module(fake)
from scalelab.core.errors import LedgerError
from scalelab.store.ledger import Ledger
ledger = Ledger(sys.argv[1], patience_s=20)
"""


def child(code, path, **options):
    """A Python process with a ledger and the maker of records at hand."""
    text = PROLOGUE + textwrap.dedent(code)
    command = [sys.executable, "-c", text, str(path)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def one_line(error):
    assert "\n" not in str(error)
    assert error.hint
    return str(error)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(LedgerError, match=r"no ledger at .*none\.duckdb") as caught:
        Ledger(tmp_path / "none.duckdb").query("SELECT 1")
    one_line(caught.value)
    with pytest.raises(LedgerError, match="folder"):
        Ledger(tmp_path).query("SELECT 1")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"dataset,value\na,1\n" * 500, b"\x00" * 20_000])
def test_another_file_is_refused_and_left_alone(tmp_path, content):
    path = tmp_path / "a.duckdb"
    path.write_bytes(content)
    for use in (Ledger.create_or_open, lambda p: Ledger(p).query("SELECT 1")):
        with pytest.raises(LedgerError) as caught:
            use(path)
        one_line(caught.value)
    assert path.read_bytes() == content


def test_another_duckdb_file_is_refused(tmp_path):
    path = tmp_path / "other.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE mine AS SELECT 1 AS i")
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger.create_or_open(path)


@pytest.mark.slow
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.95])
def test_a_truncated_ledger_gives_one_line(fake, tmp_path, part):
    path = tmp_path / "a.duckdb"
    ledger = Ledger.create_or_open(path)
    ledger.append(fake.study())
    whole = path.read_bytes()
    code = """
        found = []
        try:
            for table in ("runs", "metrics", "memory", "samples", "environments"):
                found += ledger.query(f"SELECT max(COLUMNS(*)) FROM {table}").to_pylist()
        except LedgerError as error:
            found = str(error)
        print(found)
    """
    before, _ = child(code, path).communicate(timeout=60)
    path.write_bytes(whole[: int(part * len(whole))])
    process = child(code, path)
    after, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    # What is cut off may be free space at the end; then nothing is lost and nothing is said.
    lost = str(path) in after or "query failed" in after
    assert lost or (after == before and part > 0.9)
    assert after.count("\n") == 1


def test_a_newer_ledger_is_refused(tmp_path):
    path = tmp_path / "a.duckdb"
    Ledger.create_or_open(path)
    set_version(path, versions.SCHEMA_VERSION + 1)
    before = path.read_bytes()
    with pytest.raises(LedgerError, match="schema version") as caught:
        Ledger(path).query("SELECT 1")
    assert "upgrade" in caught.value.hint
    assert path.read_bytes() == before


@pytest.mark.slow
def test_an_older_ledger_is_migrated_and_kept(fake, tmp_path, monkeypatch):
    path = tmp_path / "a.duckdb"
    Ledger.create_or_open(path).append(fake.study())
    with duckdb.connect(str(path)) as connection:
        for view in ("pareto_memory", "pareto_time", "configurations", "results"):
            connection.execute(f"DROP VIEW {view}")
        connection.execute("ALTER TABLE runs DROP COLUMN wait_fraction")
    set_version(path, 0)
    with pytest.raises(LedgerError, match="no migration"):
        Ledger(path).query("SELECT 1")
    steps = dict.fromkeys(range(versions.SCHEMA_VERSION), lambda connection: None)
    steps[0] = lambda c: c.execute("ALTER TABLE runs ADD COLUMN wait_fraction DOUBLE")
    monkeypatch.setattr(versions, "MIGRATIONS", steps)
    ledger = Ledger(path)
    assert ledger.query("FROM results WHERE wait_fraction IS NULL").num_rows == 60
    assert ledger.query("SELECT schema_version AS v FROM meta")["v"].to_pylist() == [
        versions.SCHEMA_VERSION
    ]
    with duckdb.connect(str(tmp_path / "a.duckdb.bak-v0"), read_only=True) as connection:
        assert connection.execute("SELECT schema_version FROM meta").fetchall() == [(0,)]
        assert connection.execute("SELECT count(*) FROM runs").fetchall() == [(67,)]


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    path = tmp_path / "a.duckdb"
    Ledger.create_or_open(path)
    set_version(path, 0)
    text = "ALTER TABLE runs ADD COLUMN more INT; SELECT no_such_column"
    steps = dict.fromkeys(range(versions.SCHEMA_VERSION), lambda c: c.execute(text))
    monkeypatch.setattr(versions, "MIGRATIONS", steps)
    with pytest.raises(LedgerError, match="cannot bring"):
        Ledger(path).query("SELECT 1")
    with duckdb.connect(str(path), read_only=True) as connection:
        assert connection.execute("SELECT schema_version FROM meta").fetchall() == [(0,)]
        columns = [row[0] for row in connection.execute("DESCRIBE runs").fetchall()]
    assert "more" not in columns


def test_older_duckdb_can_read_the_file(fake, ledger):
    ledger.append(fake.study())
    with duckdb.connect(str(ledger.path), read_only=True) as connection:
        tags = connection.execute(
            "SELECT tags['storage_version'] FROM duckdb_databases() WHERE database_name = 'study'"
        ).fetchall()
    assert str(tags[0][0]).startswith("v1.4.0")


def test_a_folder_that_cannot_be_written_gives_one_line(fake):
    with pytest.raises(LedgerError, match="cannot create") as caught:
        Ledger.create_or_open("/proc/scalelab/a.duckdb")
    one_line(caught.value)


def test_a_folder_that_is_a_file_gives_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(LedgerError, match="file is a file") as caught:
        Ledger.create_or_open(tmp_path / "file" / "a.duckdb")
    one_line(caught.value)


@pytest.mark.slow
def test_a_full_disk_gives_one_line_and_keeps_what_was_stored(fake, ledger):
    ledger.append([fake.record(index=1)])
    code = """
        import resource
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        try:
            ledger.append([fake.record(index=2, num_events=10000)])
        except LedgerError as error:
            print(error)
    """
    process = child(code, ledger.path)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "cannot write" in text
    assert text.count("\n") == 1
    rows = ledger.query("SELECT run_id FROM results").to_pylist()
    assert rows == [{"run_id": "run-000001"}]
    ledger.append([fake.record(index=2)])
    assert ledger.query("FROM results").num_rows == 2


@pytest.mark.slow
def test_rows_acknowledged_survive_a_kill(fake, tmp_path):
    path = tmp_path / "a.duckdb"
    ledger = Ledger.create_or_open(path)
    code = """
        with ledger.writing() as writer:
            index = int(sys.argv[2]) if len(sys.argv) > 2 else 0
            for i in range(100000):
                start = len(ledger.query("FROM runs")) if i == 0 else start
                writer.append(fake.record(index=start + i, num_events=200)).result()
                print(start + i, flush=True)
    """
    acknowledged = set()
    for round_ in range(4):
        process = child(code, path)
        first = process.stdout.readline()
        time.sleep(0.15 + 0.07 * round_)
        os.kill(process.pid, signal.SIGKILL)
        rest, _ = process.communicate(timeout=30)
        acknowledged |= {int(line) for line in (first + rest).split("\n") if line.isdigit()}
        runs = ledger.query("SELECT run_id FROM runs")["run_id"].to_pylist()
        assert len(runs) == len(set(runs))
        assert {f"run-{i:06d}" for i in acknowledged} <= set(runs)
        counts = ledger.query("SELECT count(*) AS n FROM timeline GROUP BY run_id")
        assert set(counts["n"].to_pylist()) == {len(fake.record(num_events=200).timeline)}
    assert len(acknowledged) >= 4


def set_version(path, version):
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta SET schema_version = ?", [version])


def test_a_ledger_that_was_cut_is_called_damaged(fake, ledger):
    ledger.append([fake.record(index=index) for index in range(200)])
    os.truncate(ledger.path, ledger.path.stat().st_size // 2)
    with pytest.raises(LedgerError) as caught:
        ledger.query("SELECT spec FROM runs")
    assert "damaged" in caught.value.hint
