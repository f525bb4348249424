"""A budget limits the memory of the device that a run names, and no other."""

import multiprocessing
import os

import pytest
from sweeping_helpers import hooks

from scalelab.core.limits import Limits
from scalelab.core.records import Outcome
from scalelab.core.spec import RunSpec
from scalelab.store.ledger import Ledger
from scalelab.workers import child
from scalelab.workers.fork_server import ExitStatus
from scalelab.workers.task import Task


def _task(device):
    return Task(
        run_id="r",
        study_id=None,
        fingerprint="f",
        data_fingerprint=None,
        attempt=1,
        spec=RunSpec.load("sasrec-synthetic", {"device.name": device}),
        limits=Limits(memory_bytes=2**30),
    )


@pytest.mark.slow
@pytest.mark.parametrize(("device", "limited"), [("cpu", True), ("cuda", False)])
def test_only_a_run_on_the_cpu_has_its_data_limited(device, limited, study, sweep, tmp_path):
    made = study(
        set={"data.path": "limit", "device.name": device, "train.epochs": 2},
        budget={"memory": "1GiB"},
    )
    sweep(made, executor="processes", hooks=hooks(check_device=lambda specs: None))
    sql = "SELECT outcome, error FROM runs"
    [row] = Ledger(tmp_path / "fake.duckdb").query(sql).to_pylist()
    assert row["outcome"] == "failed"
    limit = int(row["error"].rpartition(" ")[2])
    assert (limit > 2**30) if limited else (limit == -1)


@pytest.mark.parametrize(("device", "expected"), [("cpu", Outcome.OOM), ("cuda", Outcome.FAILED)])
def test_host_memory_ends_a_run_on_the_cpu_only(device, expected, monkeypatch):
    ours, theirs = multiprocessing.Pipe()
    signals = []
    monkeypatch.setattr(child, "anonymous_bytes", lambda pid: 3 * 2**30)
    monkeypatch.setattr(child.os, "kill", lambda pid, number: signals.append(number))
    watched = child.Child(_task(device), os.getpid(), ours, on_progress=lambda progress: None)
    theirs.send(("started", 2**30))
    watched.drain_messages()
    watched.enforce_limits()
    assert bool(signals) is (device == "cpu")
    record = watched.finish(ExitStatus(pid=os.getpid(), wait_status=3 << 8, peak_bytes=1))
    assert record.run.outcome is expected
