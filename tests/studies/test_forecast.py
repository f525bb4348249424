"""What cannot be predicted does not end a sweep; what cannot run does."""

import pytest
import torch

from scalelab.core import plugins
from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import RunSpec
from scalelab.core.units import GIB
from scalelab.measure import gpus
from scalelab.planning import devices
from scalelab.studies.forecast import forecast
from scalelab.sweeping.this_machine import check_device

TINY = {
    "data.num_users": 60,
    "data.num_items": 200,
    "data.mean_length": 10,
    "data.max_length": 40,
    "batch.size": 16,
    "batch.max_len": 8,
    "model.hidden_dim": 8,
    "model.num_blocks": 1,
    "device.name": "cpu",
}


def _spec(**changes):
    return RunSpec.load("sasrec-synthetic", TINY | changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "error", [SpecError("this loss runs on CUDA, not on cpu"), ValueError("no fake kernel")]
)
def test_a_loss_that_refuses_to_be_rehearsed_is_a_remark(error, monkeypatch):
    loss = plugins.load("losses", "dense_ce")

    def refuses(*args):
        raise error

    monkeypatch.setattr(loss, "__call__", refuses)
    specs = [_spec(**{"loss.name": name}) for name in ("dense_ce", "cross_entropy")]
    (nothing, something), remarks = forecast(specs, None)
    assert nothing is None
    assert something.total_bytes > 0
    [remark] = remarks
    assert "dense_ce" in remark
    assert str(error) in remark


def test_a_run_on_a_gpu_needs_its_context_beside_what_a_budget_limits(monkeypatch):
    l4 = gpus.Gpu(uuid="GPU-a", name="NVIDIA L4", memory_bytes=22 * GIB, capability=(8, 9))
    for room in (gpus, devices):
        monkeypatch.setattr(room, "visible_gpus", lambda: (l4,))
    [found], remarks = forecast([_spec(**{"device.name": "cuda", "loss.name": "dense_ce"})], None)
    assert remarks == []
    reserved = max(
        row.bytes for row in found.memory if row.kind == "reserved" and row.component == "total"
    )
    assert found.needed_bytes == reserved + devices.this_machine("cuda").context_bytes
    assert found.needed_bytes > reserved
    assert found.device_bytes == 22 * GIB


def test_parts_that_cannot_be_built_are_refused():
    with pytest.raises(SpecError, match="model 'sasrec'"):
        forecast([_spec(**{"model.num_heads": 3})], None)


def test_a_budget_that_the_device_does_not_have_is_refused():
    with pytest.raises(SpecError, match=r"a budget of .+TiB"):
        forecast([_spec()], 2**60)


def test_data_that_cannot_be_read_are_refused():
    lost = RunSpec.load("sasrec-beauty", {"data.path": "nowhere.parquet", "device.name": "cpu"})
    with pytest.raises(DataError):
        forecast([lost], None)


@pytest.mark.parametrize(("version", "number"), [("2.14.1", 0), ("2.15.0", 1)])
def test_a_torch_newer_than_any_tested_one_is_one_line_of_the_log(
    version, number, monkeypatch, caplog
):
    monkeypatch.setattr(torch, "__version__", version)
    check_device([_spec(), _spec(**{"batch.size": 8})])
    assert len(caplog.records) == number
    assert all("newest tested" in record.getMessage() for record in caplog.records)


def test_a_device_of_another_machine_is_not_predicted(monkeypatch):
    monkeypatch.setattr(gpus, "visible_gpus", tuple)
    specs = [_spec(**{"device.name": name}) for name in ("cuda", "cpu")]
    (elsewhere, here), remarks = forecast(specs, None)
    assert elsewhere is None
    assert here is not None
    assert remarks == []
    with pytest.raises(SpecError, match="no CUDA GPU found for 'cuda'"):
        check_device(specs)
