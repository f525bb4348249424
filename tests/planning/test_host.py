"""The resident memory of a process on a CPU is predicted, libraries and data included."""

import json
import subprocess
import sys

import pytest

from scalelab.core.spec import RunSpec
from scalelab.planning.devices import load_device
from scalelab.planning.predict import predict

SETTINGS = {
    "data.num_items": 2_000_000,
    "data.num_users": 20_000,
    "data.max_eval_users": 16,
    "batch.size": 32,
    "loss.name": "bce",
    "model.hidden_dim": 64,
    "train.max_steps": 2,
    "train.table.update": "streamed",
    "train.table.optimizer": "rowwise_adagrad",
    "device.name": "cpu",
}


@pytest.mark.slow
def test_the_resident_memory_of_a_process_is_predicted() -> None:
    """Within 15 %: builds of torch differ in what they load."""
    words = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    command = [sys.executable, "-m", "scalelab", "profile", "sasrec-synthetic", *words, "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured = json.loads(done.stdout)["memory"]["process"]["host_rss"]["total"]
    predicted = predict(RunSpec.load("sasrec-synthetic", SETTINGS), load_device("cpu"))
    assert predicted.host_rss_bytes == pytest.approx(measured, rel=0.15)
    assert predicted.host_rss_bytes > predicted.needed_bytes


def test_a_gpu_has_no_resident_memory_of_its_own() -> None:
    spec = RunSpec.load("sasrec-synthetic", {"data.num_items": 1000, "device.name": "cpu"})
    assert predict(spec, load_device("h100")).host_rss_bytes is None
