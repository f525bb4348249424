"""The resident memory of a process on a CPU is predicted, libraries and data included."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from scalelab.core.spec import RunSpec
from scalelab.datasets.load import lengths
from scalelab.planning.devices import load_device
from scalelab.planning.host import resident_bytes
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


def test_all_interactions_are_held_whatever_the_split_takes_of_them() -> None:
    sizes = {"data.num_items": 500, "data.num_users": 200, "data.split": "sessions"}
    known = lengths(RunSpec.load("sasrec-synthetic", sizes).data)
    more = replace(known, num_interactions=known.num_interactions + 1000)
    assert resident_bytes(more, 7) - resident_bytes(known, 7) == 4 * 1000
    timed = [replace(each, has_times=True) for each in (more, known)]
    assert resident_bytes(timed[0], 7) - resident_bytes(timed[1], 7) == 12 * 1000


@pytest.mark.slow
def test_a_gpu_has_no_resident_memory_of_its_own() -> None:
    spec = RunSpec.load("sasrec-synthetic", {"data.num_items": 1000, "device.name": "cpu"})
    assert predict(spec, load_device("h100")).host_rss_bytes is None
