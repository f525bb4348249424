"""A compact data set trains where its arrays do not fit into memory: they stay files."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scalelab.core.spec import RunSpec
from scalelab.datasets.compact import write_compact
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.load import split as split_of
from scalelab.planning.devices import load_device
from scalelab.planning.predict import predict
from scalelab.train.assemble import assemble, load_data

SPLITS = {
    "leave_one_out": {},
    "temporal": {"data.quantile": 0.9},
    "global_time": {"data.cut": 0.8},
    "sessions": {"data.cut": 0.8, "data.targets": "last"},
}
# Trains and evaluates on a small data set first, so that all that a process loads is loaded; then
# on a large one with this much more memory, in which no array of all interactions has room.
MORE_BYTES = 48 * 2**20
SCRIPT = f"""
import resource, sys
from scalelab.core.spec import RunSpec
from scalelab.train.assemble import assemble
from scalelab.train.trainer import Fit

def train(path):
    for settings in eval(sys.argv[1]):
        print(settings["data.split"], path, flush=True)
        trainer = assemble(RunSpec.load("sasrec-synthetic", settings | {{"data.path": path}}))
        trainer.fit(Fit())
        trainer.evaluator(trainer.parts.model, trainer.data.split.test, 8)

small, large = sys.argv[2:]
train(small)
status = open("/proc/self/status").read()
used = int(status.partition("VmData:")[2].split()[0]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + {MORE_BYTES},) * 2)
train(large)
"""


def compact(folder: Path, users: int, length: int) -> Path:
    """A data set of so many users with histories of `length` items among 100, with clock times."""
    folder.mkdir()
    total = users * length
    places = np.arange(total, dtype=np.int64)
    made = Interactions(
        item_ids=(places * 2_654_435_761 % 2**32 % 100 + 1).astype(np.int32),
        offsets=np.arange(0, total + 1, length, dtype=np.int64),
        times=(places // length) * 1_000 + places % length,
        num_items=100,
        time_is_order=False,
        fingerprint=f"{total:016x}",
        dropped={},
        time_unit="s",
    )
    write_compact(made, folder)
    return folder


def settings_of(split: str) -> dict[str, object]:
    return {
        "data.reader": "table",
        "data.split": split,
        **SPLITS[split],
        "batch.size": 16,
        "batch.max_len": 20,
        "model.hidden_dim": 8,
        "negatives.name": "popularity",
        "negatives.num_negatives": 4,
        "loss.name": "bce",
        "train.max_steps": 4,
        # The items that users of one block have seen are held together.
        "data.max_eval_users": 8,
        "device.name": "cpu",
    }


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Items of 80 MB and times of 160 MB."""
    return compact(tmp_path_factory.mktemp("data") / "large", 20_000, 1_000)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits private memory as Linux counts it")
def test_a_data_set_trains_in_less_memory_than_its_arrays_take(tmp_path: Path, large: Path) -> None:
    small = compact(tmp_path / "small", 400, 50)
    assert (large / "item_ids.npy").stat().st_size > MORE_BYTES
    settings = [settings_of(split) for split in SPLITS]
    command = [sys.executable, "-c", SCRIPT, repr(settings), str(small), str(large)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 2 * len(SPLITS)


@pytest.mark.slow
def test_the_resident_memory_of_a_large_data_set_is_predicted(large: Path) -> None:
    """Files that are mapped are resident too. Within 10 %: builds of torch differ."""
    settings = settings_of("temporal") | {"data.path": str(large)}
    words = [f"--set={key}={value}" for key, value in settings.items()]
    command = [sys.executable, "-m", "scalelab", "profile", "sasrec-synthetic", *words, "--json"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured = json.loads(done.stdout)["memory"]["process"]["host_rss"]["total"]
    predicted = predict(RunSpec.load("sasrec-synthetic", settings), load_device("cpu"))
    assert predicted.host_rss_bytes == pytest.approx(measured, rel=0.1)


@pytest.mark.parametrize("split", SPLITS)
def test_memory_mapped_histories_give_the_batches_of_those_in_memory(
    tmp_path: Path, split: str
) -> None:
    spec = RunSpec.load(
        "sasrec-synthetic",
        settings_of(split) | {"data.path": str(compact(tmp_path / "small", 400, 50))},
    )
    data = load_data(spec)
    interactions = data.interactions
    assert isinstance(interactions.item_ids, np.memmap)
    assert isinstance(data.split.train.item_ids, np.memmap)
    held = {name: np.array(getattr(interactions, name)) for name in ("item_ids", "times")}
    mapped = assemble(spec, data)
    in_memory = replace(interactions, **held)
    other = assemble(
        spec, replace(data, interactions=in_memory, split=split_of(in_memory, spec.data))
    )
    assert mapped.popularity == other.popularity
    for left, right in zip(mapped.loader.epoch(1), other.loader.epoch(1), strict=True):
        for name in ("item_ids_BL", "valid_N", "targets_N", "users_S"):
            assert getattr(left, name).equal(getattr(right, name))
        assert left.negatives[0].ids.equal(right.negatives[0].ids)
