"""Runs on a machine with several GPUs: each has one of its own, told by a stand-in."""

import pytest
from sweeping_helpers import hooks

from scalelab.core.errors import SpecError
from scalelab.core.spec import RunSpec
from scalelab.store.ledger import Ledger
from scalelab.studies.forecast import Forecast
from scalelab.studies.grid import Configuration
from scalelab.sweeping.device_memory import find_device
from scalelab.sweeping.jobs import Job
from scalelab.workers import run_task

GIB = 2**30
GPUS = ("GPU-aaaa", "GPU-bbbb", "GPU-cccc")


def _job(device, needed=None):
    forecast = None
    if needed is not None:
        forecast = Forecast(
            total_bytes=1, needed_bytes=needed * GIB, device_bytes=16 * GIB, seconds=1.0
        )
    return Job(
        configuration=Configuration(
            spec=RunSpec.load("sasrec-synthetic", {"device.name": device}), label=""
        ),
        fingerprint="f",
        data_fingerprint="d",
        attempt=1,
        forecast=forecast,
        earlier_outcome=None,
        skipped_because=None,
    )


@pytest.mark.parametrize(
    ("device", "running", "num_gpus", "expected"),
    [
        ("cuda", [], 3, "cuda:0"),
        ("cuda", ["cuda:0"], 3, "cuda:1"),
        ("cuda", ["cuda:0", "cuda:2"], 3, "cuda:1"),
        ("cuda", ["cuda:0", "cuda:1", "cuda:2"], 3, "cuda:0"),
        ("cuda", ["cuda:0", "cuda:1", "cuda:2", "cuda:0"], 3, "cuda:1"),
        ("cuda", ["cpu"], 1, "cuda:0"),
        ("cuda", [], 0, "cuda:0"),
        ("cuda:2", ["cuda:2"], 3, "cuda:2"),
        ("cpu", ["cuda:0"], 3, "cpu"),
    ],
)
def test_a_run_takes_the_emptiest_gpu(device, running, num_gpus, expected):
    there = [(_job("cuda"), place) for place in running]
    assert find_device(_job(device), there, num_gpus) == expected


def test_only_runs_on_the_same_gpu_take_its_memory():
    large = _job("cuda", needed=10)
    assert find_device(large, [(large, "cuda:0")], 1) is None
    assert find_device(large, [(large, "cuda:0")], 2) == "cuda:1"
    assert find_device(large, [(large, "cuda:0"), (large, "cuda:1")], 2) is None
    # The emptiest one has no room here.
    small = _job("cuda", needed=2)
    there = [(_job("cuda", needed=15), "cuda:0"), (small, "cuda:1"), (small, "cuda:1")]
    assert find_device(small, there, 2) == "cuda:1"
    assert find_device(_job("cuda:0", needed=2), there, 2) is None
    # What a forecast says that a run on the CPU needs counts its process.
    near = _job("cpu", needed=9)
    assert find_device(near, [(near, "cpu")], 2) is None
    assert find_device(near, [(_job("cuda", needed=15), "cuda:0")], 2) == "cpu"


def _seen(study, sweep, tmp_path, observer, *, workers, gpus, device="cuda"):
    asked = study(
        axes={"batch.size": [8, 9, 10, 11]},
        set={"data.path": "gpu", "device.name": device, "train.learning_rate": 0.4},
    )
    fakes = hooks(check_device=lambda specs: None, gpus=lambda: gpus)
    sweep(asked, executor="processes", workers=workers, hooks=fakes, observer=observer)
    found = Ledger(tmp_path / "fake.duckdb").query("SELECT error FROM runs").to_pylist()
    shared = [text for text in observer.messages if "share" in text]
    return [row["error"].rpartition(" ")[2] for row in found], shared


@pytest.mark.slow
def test_every_worker_has_a_gpu_of_its_own(study, sweep, tmp_path, observer, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    seen, shared = _seen(study, sweep, tmp_path, observer, workers=3, gpus=GPUS)
    assert set(seen) == set(GPUS)
    assert shared == []


@pytest.mark.slow
def test_two_workers_on_one_gpu_are_told_of_once(study, sweep, tmp_path, observer, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-aaaa")
    seen, shared = _seen(study, sweep, tmp_path, observer, workers=2, gpus=GPUS[:1])
    assert set(seen) == {"GPU-aaaa"}
    assert len(shared) == 1
    assert "cuda:0" in shared[0]


@pytest.mark.slow
def test_a_run_that_names_its_gpu_sees_them_all(study, sweep, tmp_path, observer, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    seen, _ = _seen(study, sweep, tmp_path, observer, workers=2, gpus=GPUS, device="cuda:1")
    assert set(seen) == {"0,1,2"}


@pytest.mark.slow
def test_auto_is_resolved_before_anything_is_stored(study, sweep, tmp_path):
    path = tmp_path / "fake.duckdb"
    sweep(study(set={"device.name": "auto"}), executor="processes")
    [first] = Ledger(path).query("SELECT fingerprint, spec FROM runs").to_pylist()
    assert '"name": "cpu"' in first["spec"]
    assert '"auto"' not in first["spec"]
    # The same run by another word: nothing is due.
    assert sweep(study(set={"device.name": "cpu"}), executor="processes").counts == {"done": 1}
    assert len(Ledger(path).query("SELECT * FROM runs").to_pylist()) == 1


@pytest.mark.ray
def test_auto_is_refused_for_a_cluster(study, sweep):
    pytest.importorskip("ray")
    with pytest.raises(SpecError, match="a cluster has several"):
        sweep(study(set={"device.name": "auto"}), executor="cluster")


def test_the_warm_process_imports_no_package_that_asks_for_gpus():
    specs = [RunSpec.load("sasrec-synthetic", {"loss.name": "cross_entropy"})]
    loss = specs[0].loss
    specs += [
        specs[0].model_copy(update={"loss": loss.model_copy(update={"name": name})})
        for name in ("cut_ce", "liger_ce")
    ]
    losses = {name for name in run_task.modules(specs) if ".losses." in name}
    assert losses == {"scalelab.losses.cross_entropy"}
