"""The process that runs are forked from: what it imports, its death, and what runs leave behind."""

import os
import signal
import subprocess
import sys
import time
import uuid

import psutil
import pytest
from sweeping_fakes import MARK
from sweeping_helpers import BASE, FAKES, RecordingObserver, hooks

from scalelab.core.study import StudySpec
from scalelab.store.ledger import Ledger
from scalelab.workers.fork_server import ForkServerDied

SWEEP = """
import sys
sys.path.insert(0, sys.argv[1])
from sweeping_helpers import hooks
from scalelab.core.study import StudySpec
from scalelab.sweeping import runner
study = StudySpec.model_validate_json(sys.argv[3])
modules = ["profile", "numpy", "scalelab.measure.session"]
fakes = hooks(modules=lambda specs: modules)
print(runner.sweep(study, sys.argv[2], executor="processes", hooks=fakes).counts)
"""


def servers():
    """The fork servers of this process."""
    return [
        process
        for process in psutil.Process().children()
        if any("fork_server_main" in word for word in process.cmdline())
    ]


def marked(mark):
    """Processes whose command line has the word `mark`."""
    found = []
    for process in psutil.process_iter():
        try:
            if mark in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_until(condition):
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["profile", "numpy", "scalelab"])
def test_nothing_is_imported_from_the_working_folder(tmp_path, study, name):
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    (hostile / f"{name}.py").write_text("open('imported', 'w').close(); raise SystemExit(7)\n")
    script = tmp_path / "script.py"
    script.write_text(SWEEP)
    ledger = tmp_path / "h.duckdb"
    done = subprocess.run(
        [sys.executable, str(script), FAKES, str(ledger), study().model_dump_json()],
        cwd=hostile,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout == "{'done': 1}\n", done.stderr
    assert not (hostile / "imported").exists()


@pytest.mark.slow
def test_python_m_does_not_import_from_the_working_folder(tmp_path):
    (tmp_path / "numpy.py").write_text("raise SystemExit(7)\n")
    (tmp_path / "profile.py").write_text("raise SystemExit(7)\n")
    done = subprocess.run(
        [sys.executable, "-m", "scalelab", "plan", "quickstart", "--set", "data.num_items=500"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


class Killing(RecordingObserver):
    """Kills the fork server once, when the run number `at` starts."""

    def __init__(self, at):
        super().__init__()
        self.at = at

    def on_run_start(self, run_id):
        super().on_run_start(run_id)
        if len(self.started) == self.at:
            (server,) = servers()
            server.kill()


@pytest.mark.slow
@pytest.mark.parametrize("at", [1, 3])
def test_a_killed_server_is_replaced_and_its_runs_run_again(study, sweep, tmp_path, at):
    asked = study(axes={"batch.size": [1, 2, 3, 4]}, set={"train.learning_rate": 0.5})
    observer = Killing(at)
    result = sweep(asked, executor="processes", workers=2, observer=observer)
    assert result.counts == {"done": 4}
    sql = "SELECT error, phase FROM runs WHERE outcome = 'interrupted'"
    lost = Ledger(tmp_path / "fake.duckdb").query(sql).to_pylist()
    assert 1 <= len(lost) <= 2
    assert all("runs are forked from has ended" in row["error"] for row in lost)
    assert all(row["phase"] for row in lost)
    assert servers() == []


@pytest.mark.slow
def test_a_server_killed_before_its_first_fork_is_replaced(study, sweep):
    class KilledWhilePlanning(RecordingObserver):
        def on_plan(self, name, device, cells):
            # The server is there once planning has begun: kill it before it forks.
            import threading

            def kill():
                wait_until(servers)
                servers()[0].kill()

            threading.Thread(target=kill, daemon=True).start()

    assert sweep(study(), executor="processes", observer=KilledWhilePlanning()).counts == {
        "done": 1
    }


@pytest.mark.slow
def test_a_server_that_cannot_live_ends_the_sweep_in_one_line(study, sweep, tmp_path):
    asked = study(axes={"batch.size": [1, 2]})
    broken = hooks(modules=lambda specs: ["no_such_module"])
    with pytest.raises(ForkServerDied) as caught:
        sweep(asked, executor="processes", workers=2, hooks=broken)
    assert "No module named 'no_such_module'" in str(caught.value)
    assert "\n" not in str(caught.value)
    found = Ledger(tmp_path / "fake.duckdb").query("SELECT outcome, error FROM runs").to_pylist()
    assert {row["outcome"] for row in found} == {"interrupted"}
    assert all("no_such_module" in row["error"] for row in found)


@pytest.fixture
def mark(tmp_path):
    """The folder in which each process that a run starts leaves a file; also in its arguments."""
    folder = tmp_path / uuid.uuid4().hex
    folder.mkdir()
    return str(folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["grandchild", "grandchild-kill", "grandchild-forever"])
def test_what_a_run_has_started_ends_with_the_run(study, sweep, monkeypatch, mark, kind):
    monkeypatch.setenv(MARK, mark)
    asked = study(axes={"data.path": [kind, "ok"]}, budget={"time": "3s"})
    left_behind = []

    class Looking(RecordingObserver):
        """Looks while the server lives on: at its end it ends everything."""

        def on_run_start(self, run_id):
            super().on_run_start(run_id)
            if len(self.started) == 2:
                psutil.wait_procs(marked(mark), timeout=5)
                left_behind.extend(marked(mark))

    sweep(asked, executor="processes", observer=Looking(), order="given")
    assert len(os.listdir(mark)) == 2
    assert left_behind == []


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["driver", "server"])
def test_what_a_run_has_started_ends_with_driver_or_server(tmp_path, mark, victim):
    base = tmp_path / "base.toml"
    base.write_text(BASE)
    asked = StudySpec(name="x", base=str(base), set={"data.path": "grandchild-forever"})
    script = tmp_path / "script.py"
    script.write_text(SWEEP)
    with subprocess.Popen(
        [sys.executable, str(script), FAKES, str(tmp_path / "x.duckdb"), asked.model_dump_json()],
        env={**os.environ, MARK: mark},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as driver:
        try:
            wait_until(lambda: len(marked(mark)) == 2)
            (server,) = psutil.Process(driver.pid).children()
            if victim == "driver":
                driver.send_signal(signal.SIGKILL)
                wait_until(lambda: marked(mark) == [])
            else:
                before = {process.pid for process in marked(mark)}
                server.kill()
                # In the session of the run: the other one has left it, and nobody can find it.
                wait_until(lambda: len(before & {p.pid for p in marked(mark)}) <= 1)
        finally:
            driver.kill()
            for process in marked(mark):
                process.kill()
