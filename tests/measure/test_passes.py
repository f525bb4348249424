"""What CUDA's caching allocator says of a step, beside what the account says."""

from typing import Any

import pytest
import torch

from scalelab.core.events import Stage
from scalelab.measure.passes import evaluation_pass, training_pass
from scalelab.measure.probes.torch_allocator import TorchAllocator
from scalelab.train.assemble import assemble

CASES: list[dict[str, Any]] = [
    {},
    {"loss.name": "dense_ce", "train.optimizer": "sgd"},
    {"loss.name": "bce", "train.accumulate": 2},
    {"model.name": "hstu", "train.ema_decay": 0.9},
    {"train.precision": "bf16"},
]


def test_what_lay_there_before_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"requested_bytes.all.current": 1000}
    after = {
        "requested_bytes.all.peak": 1700,
        "allocated_bytes.all.peak": 2048,
        "reserved_bytes.all.peak": 4096,
    }
    for name in ("synchronize", "reset_peak_memory_stats"):
        monkeypatch.setattr(torch.cuda, name, lambda device: None)
    monkeypatch.setattr(torch.cuda, "memory_stats", lambda device: now | after)
    probe = TorchAllocator()
    probe.open(torch.device("cuda"), None)
    probe.begin(Stage.TRAIN, tensor_bytes=600)
    probe.end(Stage.TRAIN)
    rows = {(row.kind, row.component): row.bytes for row in probe.memory()}
    assert rows == {
        ("requested_by_allocator", "total"): 1700,
        ("requested_by_allocator", "outside"): 400,
        ("requested_by_allocator", "tensors"): 1300,
        ("allocated", "total"): 2048,
        ("reserved", "total"): 4096,
    }


@pytest.mark.gpu
@pytest.mark.parametrize("changes", CASES, ids=str)
def test_the_account_is_the_allocators_own_count(small: Any, changes: dict[str, Any]) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU answers")
    trainer = assemble(small({"device.name": "cuda"} | changes))
    for account, rows in (training_pass(trainer), evaluation_pass(trainer)):
        kinds = {(row.kind, row.component): row.bytes for row in rows}
        assert kinds["requested_by_allocator", "tensors"] == account.peak_bytes
        allocated, reserved = kinds["allocated", "total"], kinds["reserved", "total"]
        assert kinds["requested_by_allocator", "total"] <= (allocated or 0) <= (reserved or 0)
