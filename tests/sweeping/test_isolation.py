"""Whatever a run does to itself, it is a row, and the sweep goes on."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from sweeping_helpers import BASE, FAKES, Heard, hooks

from scalelab.core.study import StudySpec
from scalelab.store.ledger import Ledger
from scalelab.sweeping import runner

GOOD = ["ok", "ok-2", "ok-3"]
# What the cell does, how that is called, and what its message must say.
BAD = {
    "raise": ("failed", "ValueError: this cell is no good"),
    "nan": ("diverged", ""),
    "segv": ("failed", "crashed with signal 11 (SIGSEGV)"),
    "kill": ("oom", "signal 9"),
    "leave": ("failed", "exit code 3"),
    "forever": ("timeout", "longer than 2 s"),
    "greedy": ("oom", ""),
    "creeping": ("oom", "over the budget of 64 MiB"),
}


def runs(path, where="true"):
    sql = f"SELECT * FROM runs WHERE {where} ORDER BY started_at"
    return Ledger(path).query(sql).to_pylist()


def how(row):
    return row["dataset"]


@pytest.fixture(scope="module")
def survived(tmp_path_factory):
    """One sweep over good and bad cells."""
    folder = tmp_path_factory.mktemp("bad")
    base = folder / "base.toml"
    base.write_text(BASE)
    study = StudySpec(
        name="bad",
        base=str(base),
        axes={"data.path": [GOOD[0], *BAD, *GOOD[1:]]},
        budget={"time": "2s", "memory": "64MiB"},
    )
    heard = Heard()
    result = runner.sweep(
        study,
        folder / "bad.duckdb",
        executor="processes",
        workers=4,
        observer=heard,
        hooks=hooks(),
    )
    return folder / "bad.duckdb", result, heard


def test_good_cells_finish_beside_bad_ones(survived):
    path, result, _ = survived
    assert {how(row) for row in runs(path, "outcome = 'done'")} == set(GOOD)
    assert result.exit_code == 1
    assert sum(result.counts.values()) == len(GOOD) + len(BAD)


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_cell_leaves_its_outcome_phase_and_message(survived, kind):
    path, _, _ = survived
    (row,) = [row for row in runs(path) if how(row) == kind]
    outcome, message = BAD[kind]
    assert row["outcome"] == outcome, row["error"]
    assert message in (row["error"] or "")
    assert "\n" not in (row["error"] or "")
    if kind != "nan":  # which ends by its own word, as a session would
        assert row["phase"] == "train"


@pytest.mark.parametrize("kind", [kind for kind in BAD if kind not in ("raise", "greedy")])
def test_a_bad_cell_keeps_the_quality_it_had_reached(survived, kind):
    path, _, _ = survived
    sql = """SELECT epoch, value FROM metrics JOIN runs USING (run_id)
             WHERE dataset = ? AND split = 'valid' AND name = 'ndcg' AND k = 10 ORDER BY epoch"""
    kept = Ledger(path).query(sql, [kind]).to_pylist()
    good = Ledger(path).query(sql, ["ok"]).to_pylist()
    assert kept == good[:2]


@pytest.mark.parametrize("kind", ["segv", "kill", "forever", "creeping"])
def test_a_killed_run_leaves_its_last_known_peak(survived, kind):
    path, _, _ = survived
    sql = """SELECT bytes FROM memory JOIN runs USING (run_id)
             WHERE dataset = ? AND stage = 'process' AND kind = 'host_rss'"""
    (row,) = Ledger(path).query(sql, [kind]).to_pylist()
    assert row["bytes"] > 64 * 2**20


def test_every_run_that_started_has_ended_for_the_observer(survived):
    _, _, heard = survived
    assert sorted(heard.started) == sorted(record.run.run_id for record in heard.ended)


DRIVER = """
    import sys
    sys.path.insert(0, {fakes!r})
    from sweeping_helpers import Heard, hooks
    from scalelab.core.study import StudySpec
    from scalelab.sweeping import runner

    class Telling(Heard):
        def on_run_start(self, run_id):
            print("start", run_id, flush=True)

    if __name__ == "__main__":
        study = StudySpec(
            name="killed",
            base={base!r},
            axes={{"batch.size": list(range(1, {number} + 1))}},
            set={{"train.epochs": {epochs}, "train.learning_rate": {seconds}}},
        )
        result = runner.sweep(
            study, {ledger!r}, executor={executor!r}, workers=2, observer=Telling(), hooks=hooks()
        )
        print(dict(result.counts), flush=True)
        sys.exit(result.exit_code)
"""


@pytest.fixture
def driver(tmp_path):
    """Start a sweep in a process of its own."""
    base = tmp_path / "base.toml"
    base.write_text(BASE)
    started = []

    def start(number=30, epochs=2, seconds=0.02, executor="processes"):
        text = textwrap.dedent(DRIVER).format(
            fakes=FAKES,
            base=str(base),
            ledger=str(tmp_path / "killed.duckdb"),
            number=number,
            epochs=epochs,
            seconds=seconds,
            executor=executor,
        )
        script = tmp_path / "drive.py"
        script.write_text(text)
        process = subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def descendants(pid):
    """Ids of all processes that come from `pid`."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            parents[int(entry.name)] = int(fields[1])
    found, fresh = set(), {pid}
    while fresh:
        fresh = {child for child, parent in parents.items() if parent in fresh} - found
        found |= fresh
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for_starts(process, number):
    seen = 0
    while seen < number:
        line = process.stdout.readline()
        assert line, "the sweep ended early"
        seen += line.startswith("start")


def test_no_worker_outlives_its_driver(driver):
    process = driver(number=4, epochs=100, seconds=1.0)
    wait_for_starts(process, 2)
    family = descendants(process.pid)
    assert len(family) >= 3, "a warm process and two runs"
    process.kill()
    process.wait()
    until = time.monotonic() + 5
    while time.monotonic() < until and any(alive(pid) for pid in family):
        time.sleep(0.05)
    assert not [pid for pid in family if alive(pid)]


def test_a_driver_killed_again_and_again_loses_and_repeats_nothing(driver, tmp_path):
    """A slice of the 20 kills of the benchmark: every place of a sweep may be hit."""
    number = 12
    acknowledged = set()
    for kill in range(4):
        process = driver(number=number)
        wait_for_starts(process, 1)
        time.sleep(0.05 + 0.13 * kill)
        process.kill()
        process.communicate()
        ended = {row["run_id"] for row in runs(tmp_path / "killed.duckdb", "outcome = 'done'")}
        assert acknowledged <= ended
        acknowledged = ended
    process = driver(number=number)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    check_each_once(tmp_path / "killed.duckdb", number)


def check_each_once(path, number):
    done = runs(path, "outcome = 'done'")
    assert sorted(row["batch_size"] for row in done) == list(range(1, number + 1))
    others = {row["outcome"] for row in runs(path)} - {"done"}
    assert others <= {"interrupted"}
    orphans = """SELECT count(*) AS n FROM metrics WHERE run_id NOT IN (SELECT run_id FROM runs)"""
    assert Ledger(path).query(orphans).to_pylist() == [{"n": 0}]
    per_run = """SELECT count(*) AS n FROM metrics JOIN runs USING (run_id)
                 WHERE outcome = 'done' GROUP BY run_id"""
    assert {row["n"] for row in Ledger(path).query(per_run).to_pylist()} == {3}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_one_signal_lets_runs_finish_their_epoch(driver, tmp_path, number, executor):
    process = driver(number=6, epochs=50, seconds=0.3, executor=executor)
    wait_for_starts(process, 1 if executor == "inline" else 2)
    time.sleep(0.5)
    os.killpg(process.pid, number)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 130, out
    rows = runs(tmp_path / "killed.duckdb")
    assert {row["outcome"] for row in rows} == {"interrupted"}
    assert len(rows) == (1 if executor == "inline" else 2)
    # Stopped between two epochs: every epoch that was begun has its figure.
    sql = "SELECT epochs, count(*) AS n FROM runs JOIN metrics USING (run_id) GROUP BY run_id, epochs"
    assert all(
        row["epochs"] == row["n"]
        for row in Ledger(tmp_path / "killed.duckdb").query(sql).to_pylist()
    )


@pytest.mark.parametrize("executor", ["processes", "inline"])
def test_a_second_signal_ends_the_runs_at_once(driver, tmp_path, executor):
    process = driver(number=2, epochs=1, seconds=300.0, executor=executor)
    wait_for_starts(process, 1 if executor == "inline" else 2)
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=10)
    assert process.returncode == 130, out
    assert {row["outcome"] for row in runs(tmp_path / "killed.duckdb")} == {"interrupted"}


def test_a_second_driver_is_refused(driver, study, sweep, tmp_path):
    from scalelab.core.errors import LedgerError

    process = driver(number=2, epochs=100, seconds=0.1)
    wait_for_starts(process, 1)
    with pytest.raises(LedgerError, match="another sweep writes"):
        sweep(study(), ledger=tmp_path / "killed.duckdb")
