"""The resident memory of a process on a CPU is predicted, libraries and data included."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest

from scalelab.core.limits import process_limit
from scalelab.core.spec import RunSpec
from scalelab.core.units import GIB, MIB
from scalelab.datasets.compact import write_compact
from scalelab.datasets.load import Dataset, lengths
from scalelab.planning.devices import load_device
from scalelab.planning.host import process_bytes
from scalelab.planning.limits import limit_bytes
from scalelab.planning.predict import predict
from scalelab.planning.solve import solve
from scalelab.studies.forecast import forecast
from scalelab.studies.plan_sentence import plan_sentence
from scalelab.studies.predictions import predict_configurations

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
    assert (predicted.host_rss_bytes or 0) > predicted.needed_bytes


def test_all_interactions_are_held_whatever_the_split_takes_of_them() -> None:
    sizes = {"data.num_items": 500, "data.num_users": 200, "data.split": "sessions"}
    known = lengths(RunSpec.load("sasrec-synthetic", sizes).data)
    more = replace(known, num_interactions=known.num_interactions + 1000)
    assert process_bytes(more).resident - process_bytes(known).resident == 4 * 1000
    timed = [replace(each, has_times=True) for each in (more, known)]
    assert process_bytes(timed[0]).resident - process_bytes(timed[1]).resident == 12 * 1000
    assert process_bytes(timed[0]).held - process_bytes(timed[1]).held == 12 * 1000


SMALL = {
    "data.num_items": 500,
    "data.num_users": 200,
    "data.mean_length": 10,
    "data.max_length": 40,
    "batch.size": 8,
    "batch.max_len": 8,
    "model.hidden_dim": 8,
    "model.num_blocks": 1,
    "loss.name": "bce",
    "device.name": "cpu",
}
CPU = load_device("cpu")


def test_a_machine_must_hold_the_process_beside_the_tensors() -> None:
    spec = RunSpec.load("sasrec-synthetic", SMALL)
    plain = predict(spec, CPU)
    assert plain.host_rss_bytes is not None
    enough = predict(spec, replace(CPU, memory_bytes=plain.host_rss_bytes))
    short = predict(spec, replace(CPU, memory_bytes=plain.host_rss_bytes - 1))
    assert (enough.fits, short.fits) == (True, False)
    assert short.needed_bytes < 64 * MIB
    assert short.reason is not None
    assert "the process and its data take" in short.reason


@pytest.mark.slow
def test_the_largest_value_leaves_room_for_the_process() -> None:
    spec = RunSpec.load("sasrec-synthetic", SMALL | {"data.num_users": 2000})
    memory = (predict(spec, CPU).host_rss_bytes or 0) + MIB
    found = solve(spec, "batch.size", replace(CPU, memory_bytes=memory))
    assert found.next_prediction is not None
    assert (found.prediction.host_rss_bytes or 0) <= memory
    assert (found.next_prediction.host_rss_bytes or 0) > memory


def test_a_budget_counts_what_the_process_grows_by_as_a_run_does() -> None:
    spec = RunSpec.load("sasrec-synthetic", SMALL)
    known = lengths(spec.data)
    # Interactions are held in memory: as many as the budget lets the process grow by, and more.
    few = replace(known, num_interactions=300 * MIB // 4)
    many = replace(known, num_interactions=process_limit(64 * MIB) // 4)
    verdicts = [predict(spec, CPU, budget_bytes=64 * MIB, data=data).fits for data in (few, many)]
    assert verdicts == [True, False]
    assert predict(spec, CPU, budget_bytes=GIB, data=many).fits
    assert limit_bytes(CPU, 64 * MIB, process_bytes(few)) == 64 * MIB


def test_memory_mapped_data_may_be_larger_than_the_machine(tmp_path) -> None:
    spec = RunSpec.load("sasrec-synthetic", SMALL)
    write_compact(Dataset(spec.data).load(), tmp_path)
    compact = spec.with_({"data.path": str(tmp_path)})
    for changes, is_mapped in [
        ({}, True),
        ({"split": "sessions"}, True),
        ({"min_item_count": 2}, False),
    ]:
        changed = compact.with_({f"data.{key}": value for key, value in changes.items()})
        assert lengths(changed.data).is_mapped == is_mapped
    assert not lengths(spec.data).is_mapped
    known = replace(lengths(spec.data), num_interactions=2 * CPU.memory_bytes // 4)
    assert not predict(spec, CPU, data=known).fits
    mapped = predict(spec, CPU, data=replace(known, is_mapped=True))
    assert mapped.fits
    assert (mapped.host_rss_bytes or 0) > CPU.memory_bytes


def test_a_sweep_counts_the_process_of_each_run(monkeypatch) -> None:
    spec = RunSpec.load("sasrec-synthetic", SMALL)
    plain = predict(spec)
    [found], _ = forecast([spec], None)
    assert found is not None
    assert found.needed_bytes == plain.needed_bytes + plain.process.held  # type: ignore[union-attr]
    small = replace(CPU, memory_bytes=(plain.host_rss_bytes or 0) - MIB)
    monkeypatch.setattr("scalelab.planning.devices.this_machine", lambda name=None: small)
    [found], _ = forecast([spec], None)
    assert found is not None
    assert found.too_large is not None


def test_the_sentence_says_that_the_process_leaves_no_room(tmp_path) -> None:
    device = tmp_path / "small.toml"
    text = 'name="small"\nkind="cpu"\nmemory="300MiB"\nbandwidth_gb_s=40.0\n'
    device.write_text(text + "[tflops]\nfp32=0.1\nbf16=0.1\n")
    found = predict_configurations("sasrec-synthetic", SMALL, on=device)
    said = plan_sentence(found)
    assert "does not fit small (0 B for a run, the process and its data left out)" in said
    assert "and the process and its data take 560 MiB beside it" in said
    assert found[0]["process_bytes"] > found[0]["device_bytes"]


@pytest.mark.slow
def test_a_gpu_has_no_resident_memory_of_its_own() -> None:
    spec = RunSpec.load("sasrec-synthetic", {"data.num_items": 1000, "device.name": "cpu"})
    assert predict(spec, load_device("h100")).host_rss_bytes is None
