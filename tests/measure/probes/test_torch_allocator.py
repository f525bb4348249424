"""What is read from CUDA's caching allocator, where no GPU is needed to see it."""

import pytest
import torch

from scalelab.core.events import Stage
from scalelab.measure.probes.torch_allocator import TorchAllocator


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
