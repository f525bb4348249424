"""Several processes at one ledger: they wait for each other, and two drivers never meet."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import duckdb
import pytest

from scalelab.core.errors import LedgerError
from scalelab.store.ledger import Ledger
from scalelab.store.lock import driver_lock, is_locked, lock_path

HOLD = """
import duckdb, sys, time
connection = duckdb.connect(sys.argv[1])
print(1, flush=True)
time.sleep({})
"""
DRIVE = """
import sys, time
from scalelab.store.ledger import Ledger
with Ledger(sys.argv[1]).writing():
    print(1, flush=True)
    time.sleep(60)
"""
ASK = """
import sys, time
from scalelab.store.ledger import Ledger
for _ in range(10):
    n = Ledger(sys.argv[1]).query("SELECT count(*) AS n FROM runs")["n"][0].as_py()
    print(n, flush=True)
    time.sleep(0.02)
"""


def started(code, path):
    command = [sys.executable, "-c", code, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline()
    return process


def killed(process):
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


def test_whoever_holds_the_file_is_waited_for(fake, ledger):
    process = started(HOLD.format(0.7), ledger.path)
    ledger.append([fake.record()])
    assert ledger.query("FROM runs").num_rows == 1
    process.communicate(timeout=30)


def test_who_waits_in_vain_is_told_for_whom(ledger):
    process = started(HOLD.format(60), ledger.path)
    try:
        impatient = Ledger(ledger.path, patience_s=0.3)
        for use in (lambda: impatient.query("SELECT 1"), impatient.interrupt_running):
            with pytest.raises(LedgerError, match=rf"PID {process.pid}") as caught:
                use()
            assert "\n" not in str(caught.value)
            assert caught.value.hint
    finally:
        killed(process)


def test_a_connection_of_this_process_is_no_crash(ledger):
    with (
        duckdb.connect(str(ledger.path)),
        pytest.raises(LedgerError, match="of this process"),
    ):
        Ledger(ledger.path, patience_s=0.1).query("SELECT 1")
    assert ledger.query("FROM runs").num_rows == 0


@pytest.mark.slow
def test_questions_never_fail_while_a_sweep_writes(fake, ledger):
    process = started(ASK, ledger.path)
    failures = []

    def ask():
        try:
            for _ in range(6):
                ledger.query("FROM configurations")
        except LedgerError as error:
            failures.append(error)

    with ledger.writing() as writer:
        thread = threading.Thread(target=ask)
        thread.start()
        for index in range(20):
            writer.append(fake.record(index=index, num_events=500))
            time.sleep(0.02)
        thread.join()
        text, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert failures == []
    counts = [int(n) for n in text.split()]
    assert counts == sorted(counts)
    assert ledger.query("FROM runs").num_rows == 20


def test_a_second_driver_is_refused_until_the_first_is_gone(ledger):
    process = started(DRIVE, ledger.path)
    with pytest.raises(LedgerError, match=str(process.pid)) as caught, ledger.writing():
        pass
    assert "another sweep writes" in str(caught.value)
    assert ledger.query("FROM runs").num_rows == 0
    killed(process)
    with ledger.writing():
        assert lock_path(ledger.path).exists()
        with pytest.raises(LedgerError, match=str(os.getpid())), ledger.writing():
            pass
    assert not lock_path(ledger.path).exists()


def test_a_reader_that_asks_for_a_moment_refuses_no_sweep(ledger, monkeypatch):
    path = lock_path(ledger.path)
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_SH)
    monkeypatch.setattr("scalelab.store.lock.time.sleep", lambda _: os.close(descriptor))
    with driver_lock(ledger.path):
        assert is_locked(ledger.path)


def test_a_file_system_without_locks_gives_one_line(ledger, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    lock_path(ledger.path).touch()
    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(LedgerError, match=r"cannot lock .*No locks available"):
        is_locked(ledger.path)


def test_a_lock_that_cannot_be_made_gives_one_line(tmp_path):
    with (
        pytest.raises(LedgerError, match="cannot lock"),
        driver_lock(tmp_path / "none" / "a.duckdb"),
    ):
        pass


def test_a_full_disk_gives_one_line(ledger, monkeypatch):
    def full(descriptor, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(LedgerError, match=r"cannot lock .*: No space left on device"):
        with ledger.writing():
            pass
    monkeypatch.undo()
    with ledger.writing():
        pass
