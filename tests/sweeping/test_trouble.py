"""A ledger that is held, damaged or on a full disk: runs go on, or one line says why not."""

import os
import signal
import subprocess
import sys
import threading
import time

import duckdb
import pytest
from sweeping_helpers import BASE, FAKES, RecordingObserver

from scalelab.core.errors import LedgerError
from scalelab.store.ledger import Ledger

HOLD = """
import duckdb, sys, time
while True:
    try:
        connection = duckdb.connect(sys.argv[1])
        break
    except duckdb.IOException:
        time.sleep(0.001)
print("held", flush=True)
time.sleep(100)
"""
# The disk is full from the third stored run on, and only for this process.
FILL = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from sweeping_helpers import RecordingObserver, hooks
from scalelab.core.errors import LedgerError
from scalelab.core.study import StudySpec
from scalelab.sweeping import runner

class Filling(RecordingObserver):
    def on_run_end(self, record):
        super().on_run_end(record)
        if len(self.ended) == 3:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))

study = StudySpec.model_validate_json(sys.argv[3])
try:
    runner.sweep(study, sys.argv[2], executor="inline", observer=Filling(), hooks=hooks())
except LedgerError as error:
    print(error)
"""


def wait_for(condition):
    until = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.005)


def counts(path):
    sql = "SELECT outcome, count(*) AS n FROM runs GROUP BY outcome"
    return {row["outcome"]: row["n"] for row in Ledger(path).query(sql).to_pylist()}


@pytest.mark.slow
def test_runs_start_and_end_while_somebody_holds_the_ledger(study, sweep, tmp_path):
    path = tmp_path / "fake.duckdb"
    observer, results = RecordingObserver(), []
    asked = study(axes={"batch.size": list(range(1, 13))}, set={"train.learning_rate": 0.05})
    sweeping = threading.Thread(
        target=lambda: results.append(sweep(asked, executor="processes", observer=observer))
    )
    # Signal handlers belong to the main thread; a sweep beside it does without them.
    sweeping.start()
    wait_for(lambda: observer.started)
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "held\n"
        before = len(observer.started)
        wait_for(lambda: len(observer.started) >= before + 4)
        # What is not on disk is not told as stored.
        assert len(observer.ended) <= before
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    sweeping.join()
    assert results[0].counts == {"done": 12}
    assert counts(path) == {"done": 12}


@pytest.mark.slow
def test_a_disk_that_fills_up_ends_the_sweep_with_one_line_and_loses_nothing(
    study, sweep, tmp_path
):
    (tmp_path / "base.toml").write_text(BASE)
    path = tmp_path / "fake.duckdb"
    asked = study(axes={"batch.size": list(range(1, 9))}, set={"train.learning_rate": 0.2})
    done = subprocess.run(
        [sys.executable, "-c", FILL, FAKES, str(path), asked.model_dump_json()],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "cannot write" in done.stdout
    assert done.stdout.count("\n") == 1
    kept = counts(path)
    assert kept["done"] >= 3
    observer = RecordingObserver()
    assert sweep(asked, observer=observer).counts == {"done": 8}
    assert len(observer.started) == 8 - kept["done"]


@pytest.mark.parametrize("wrong", ["truncated", "newer", "text", "folder"])
def test_a_ledger_that_cannot_be_used_stops_the_sweep_before_a_run(
    study, sweep, tmp_path, observer, wrong
):
    path = tmp_path / "fake.duckdb"
    sweep(study())
    whole = path.read_bytes()
    if wrong == "newer":
        with duckdb.connect(str(path)) as connection:
            connection.execute("UPDATE meta SET schema_version = schema_version + 1")
        whole = path.read_bytes()
    elif wrong == "truncated":
        whole = whole[: len(whole) // 3]
    elif wrong == "text":
        whole = b"loss,ndcg\nbce,0.1\n" * 500
    if wrong == "folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(whole)
    with pytest.raises(LedgerError) as caught:
        sweep(study(), observer=observer)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value) or "fake.duckdb" in str(caught.value)
    assert caught.value.hint
    assert observer.started == []
    if path.is_file():
        assert path.read_bytes() == whole


@pytest.fixture
def held(tmp_path):
    """Hold the ledger in another process; call the result to let it go."""
    started = []

    def hold():
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "fake.duckdb")],
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(holder)
        assert holder.stdout.readline() == "held\n"

    def let_go():
        while started:
            holder = started.pop()
            holder.kill()
            holder.communicate()

    hold.let_go = let_go
    yield hold
    let_go()


@pytest.mark.slow
def test_finished_runs_wait_beside_a_held_ledger_and_the_next_sweep_stores_them(
    study, sweep, tmp_path, held, monkeypatch
):
    """The holder stays to the end: the sweep says so in one line, and nothing runs twice."""
    monkeypatch.setattr("scalelab.store.ledger._STORE_PATIENCE_S", 0.1)
    monkeypatch.setattr("scalelab.store.writer._PATIENCE_S", 0.5)

    class Holding(RecordingObserver):
        def on_run_start(self, run_id):
            super().on_run_start(run_id)
            if len(self.started) == 2:
                held()

    asked = study(axes={"batch.size": list(range(1, 6))})
    observer = Holding()
    with pytest.raises(LedgerError) as caught:
        sweep(asked, executor="processes", observer=observer)
    assert len(observer.started) == 5, "runs went on"
    assert any("finished runs wait in fake.duckdb.waiting" in m for m in observer.messages)
    assert "\n" not in str(caught.value)
    assert "held by" in str(caught.value)
    assert "fake.duckdb.waiting" in str(caught.value)
    held.let_go()
    again = RecordingObserver()
    assert sweep(asked, observer=again).counts == {"done": 5}
    assert again.started == [], "all five were finished"
    assert counts(tmp_path / "fake.duckdb") == {"done": 5}
    assert not (tmp_path / "fake.duckdb.waiting").exists()


@pytest.mark.slow
def test_a_ledger_that_is_let_go_gets_what_waited(study, sweep, tmp_path, held, monkeypatch):
    monkeypatch.setattr("scalelab.store.ledger._STORE_PATIENCE_S", 0.1)
    waiting = tmp_path / "fake.duckdb.waiting"

    class Holding(RecordingObserver):
        def on_run_start(self, run_id):
            super().on_run_start(run_id)
            if len(self.started) == 2:
                held()

        def on_message(self, text):
            super().on_message(text)
            if "wait in" in text:
                assert waiting.exists()
                held.let_go()

    observer = Holding()
    asked = study(axes={"batch.size": [1, 2, 3]}, set={"train.learning_rate": 0.2})
    assert sweep(asked, executor="processes", observer=observer).counts == {"done": 3}
    assert counts(tmp_path / "fake.duckdb") == {"done": 3}
    assert len(observer.ended) == 3
    assert any("free again" in text for text in observer.messages)
    assert not waiting.exists()
