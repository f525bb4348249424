"""Drivers that are killed, stopped or doubled: nothing is lost, repeated or left behind."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sweeping_helpers import BASE, FAKES

from scalelab.core.errors import LedgerError
from scalelab.store.ledger import Ledger


@pytest.fixture(scope="module")
def host():
    """The process that drivers are forked from."""
    with subprocess.Popen(
        [sys.executable, str(Path(FAKES) / "sweeping_host.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


class Driver:
    """A sweep in a process of its own."""

    def __init__(self, host, request):
        self.host = host
        self.out = Path(request["out"])
        self.out.unlink(missing_ok=True)
        self.pid = int(self._ask(request))
        self.code = None

    def _ask(self, request):
        self.host.stdin.write(json.dumps(request) + "\n")
        return self.host.stdout.readline()

    def lines(self, word):
        text = self.out.read_text() if self.out.exists() else ""
        return [line.split() for line in text.splitlines() if line.startswith(f"{word} ")]

    def wait_for(self, word, number):
        until = time.monotonic() + 60
        while len(self.lines(word)) < number:
            assert time.monotonic() < until, f"no {number} times {word!r}: {self.out.read_text()}"
            time.sleep(0.01)

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self):
        if self.code is None:
            self.code = int(self._ask({"wait": self.pid}))
        return self.code


@pytest.fixture
def drive(host, tmp_path):
    """Start a sweep; what is left of it at the end is killed."""
    base = tmp_path / "base.toml"
    base.write_text(BASE)
    started = []

    def start(number=30, epochs=2, seconds=0.02, executor="processes"):
        study = {
            "name": "killed",
            "base": str(base),
            "axes": {"batch.size": list(range(1, number + 1))},
            "set": {"train.epochs": epochs, "train.learning_rate": seconds},
        }
        request = {
            "study": study,
            "ledger": str(tmp_path / "killed.duckdb"),
            "executor": executor,
            "out": str(tmp_path / "out.txt"),
        }
        started.append(Driver(host, request))
        return started[-1]

    yield start
    for driver in started:
        if driver.code is None:
            driver.signal(signal.SIGKILL)
            driver.wait()


@pytest.fixture
def ledger(tmp_path):
    """The ledger that `drive` writes."""
    return Ledger(tmp_path / "killed.duckdb")


def rows(ledger, sql="SELECT * FROM runs"):
    return ledger.query(sql).to_pylist()


def descendants(pid):
    """Ids of all processes that come from `pid`."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := status_of(entry.name)):
            parents[int(entry.name)] = int(fields[1])
    found, fresh = set(), {pid}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def status_of(pid):
    """State, parent and so on; nothing once it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def alive(pid):
    return status_of(pid)[:1] not in ([], ["Z"])


@pytest.mark.slow
def test_no_worker_outlives_its_driver(drive):
    driver = drive(number=4, epochs=100, seconds=1.0)
    driver.wait_for("start", 2)
    family = descendants(driver.pid)
    assert len(family) >= 3, "a warm process and two runs"
    driver.signal(signal.SIGKILL)
    driver.wait()
    until = time.monotonic() + 5
    while time.monotonic() < until and any(alive(pid) for pid in family):
        time.sleep(0.05)
    assert not [pid for pid in family if alive(pid)]


@pytest.mark.slow
def test_a_driver_killed_twenty_times_loses_and_repeats_nothing(drive, ledger):
    number, chance = 30, random.Random(5)
    stored, left = {}, number
    for _ in range(20):
        driver = drive(number=number, seconds=0.05)
        if chance.random() < 0.5:
            # On a fast machine the last rounds may have fewer runs left to start.
            driver.wait_for("start", min(chance.randrange(1, 3), left))
        time.sleep(chance.random() * 0.3)
        driver.signal(signal.SIGKILL)
        driver.wait()
        stored |= {run_id: outcome for _, run_id, outcome in driver.lines("stored")}
        if ledger.path.exists():
            found = {row["run_id"]: row["outcome"] for row in rows(ledger)}
            assert stored.items() <= found.items(), "what was said to be stored is there"
            left = number - list(found.values()).count("done")
    driver = drive(number=number, seconds=0.05)
    assert driver.wait() == 0, driver.out.read_text()
    done = rows(ledger, "SELECT * FROM runs WHERE outcome = 'done'")
    assert sorted(row["batch_size"] for row in done) == list(range(1, number + 1))
    others = {row["outcome"] for row in rows(ledger)} - {"done"}
    assert others <= {"interrupted"}
    for table in ("metrics", "memory"):
        strays = f"SELECT * FROM {table} WHERE run_id NOT IN (SELECT run_id FROM runs)"
        assert rows(ledger, strays) == []
    per_run = """SELECT count(*) AS n FROM metrics JOIN runs USING (run_id)
                 WHERE outcome = 'done' GROUP BY run_id"""
    assert {row["n"] for row in rows(ledger, per_run)} == {3}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("executor", ["processes", pytest.param("inline", marks=pytest.mark.slow)])
def test_one_signal_lets_runs_finish_their_epoch(drive, ledger, number, executor):
    driver = drive(number=6, epochs=50, seconds=0.3, executor=executor)
    running = 1 if executor == "inline" else 2
    driver.wait_for("start", running)
    time.sleep(0.4)
    driver.signal(number)
    assert driver.wait() == 130, driver.out.read_text()
    found = rows(ledger)
    assert [row["outcome"] for row in found] == ["interrupted"] * running
    # Stopped between two epochs: every epoch that was begun has its figure.
    counted = """SELECT epochs, count(*) AS n FROM runs JOIN metrics USING (run_id)
                 GROUP BY run_id, epochs"""
    assert all(row["epochs"] == row["n"] >= 1 for row in rows(ledger, counted))


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_a_second_signal_ends_the_runs_at_once(drive, ledger, executor):
    driver = drive(number=2, epochs=1, seconds=300.0, executor=executor)
    driver.wait_for("start", 1 if executor == "inline" else 2)
    driver.signal(signal.SIGINT)
    time.sleep(0.4)
    since = time.monotonic()
    driver.signal(signal.SIGINT)
    assert driver.wait() == 130, driver.out.read_text()
    assert time.monotonic() - since < 10
    assert {row["outcome"] for row in rows(ledger)} == {"interrupted"}


@pytest.mark.slow
def test_a_second_driver_is_refused(drive, ledger, study, sweep):
    driver = drive(number=2, epochs=100, seconds=0.1)
    driver.wait_for("start", 1)
    with pytest.raises(LedgerError, match="another sweep writes"):
        sweep(study(), ledger=ledger.path)
    end = time.monotonic() + 30
    while not rows(ledger) and time.monotonic() < end:  # the writer is a thread
        time.sleep(0.1)
    assert {row["outcome"] for row in rows(ledger)} == {"running"}


def worker_of(driver):
    """The id of the one run of `driver`: a child of its warm process."""
    found = {pid: status_of(pid) for pid in descendants(driver.pid)}
    (worker,) = [pid for pid, status in found.items() if int(status[1]) in found]
    return worker


@pytest.mark.slow
@pytest.mark.parametrize("epochs_before", [0, 2])
def test_a_run_that_somebody_else_kills_runs_again(drive, ledger, epochs_before):
    driver = drive(number=1, epochs=5, seconds=0.5)
    driver.wait_for("start", 1)
    if epochs_before:
        time.sleep(0.5 * epochs_before)
    os.kill(worker_of(driver), signal.SIGKILL)
    assert driver.wait() == 1, driver.out.read_text()
    [row] = rows(ledger)
    assert row["outcome"] == "interrupted"
    assert "killed by signal 9 (SIGKILL) from outside" in row["error"]
    again = drive(number=1, epochs=5, seconds=0.01)
    assert again.wait() == 0, again.out.read_text()
    assert sorted(row["outcome"] for row in rows(ledger)) == ["done", "interrupted"]
