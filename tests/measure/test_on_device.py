"""The current device, the allocator's limit and the step timer, with stand-ins for CUDA."""

import weakref
from collections.abc import Callable
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from scalelab.core.limits import Limits
from scalelab.core.records import Memory
from scalelab.core.spec import RunSpec
from scalelab.measure import passes
from scalelab.measure.device_budget import must_fit, on_device
from scalelab.measure.memory_errors import OverBudget
from scalelab.measure.probes.step_timer import StepTimer
from scalelab.train.assemble import assemble

WHOLE = 80 * 2**30


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A CUDA with two GPUs that remembers what it was told; PyTorch's own checks stay."""
    told = SimpleNamespace(current=0, fractions=[], recorded=[])

    @contextmanager
    def device(wanted: torch.device):
        before, told.current = told.current, wanted.index or 0
        yield
        told.current = before

    class Event:
        def __init__(self, enable_timing: bool) -> None:
            assert enable_timing

        def record(self, stream: str) -> None:
            told.recorded.append(stream)

        def synchronize(self) -> None:
            pass

        def elapsed_time(self, other: object) -> float:
            return 2.0

    def limited(fraction: float, index: int) -> None:
        told.fractions.append((fraction, index))

    monkeypatch.setattr(torch.cuda, "device", device)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: f"stream of {device}")
    monkeypatch.setattr(torch.cuda, "current_device", lambda: told.current)
    properties = SimpleNamespace(total_memory=WHOLE)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.cuda.memory, "_lazy_init", lambda: None)
    monkeypatch.setattr(torch._C, "_cuda_setMemoryFraction", limited, raising=False)
    return told


@pytest.mark.parametrize("name", ["cuda", "cuda:1"])
def test_a_budget_is_a_limit_of_the_allocator_of_the_runs_own_gpu(
    name: str, cuda: SimpleNamespace
) -> None:
    device = torch.device(name)
    with on_device(device, 2**30):
        assert cuda.current == (device.index or 0)
        [(fraction, index)] = cuda.fractions
        assert index == cuda.current
        assert int(fraction * WHOLE) == 2**30
    assert cuda.fractions[-1] == (1.0, index)
    assert cuda.current == 0


def test_without_a_budget_the_gpu_is_current_and_nothing_is_limited(cuda: SimpleNamespace) -> None:
    with on_device(torch.device("cuda:1"), None):
        assert cuda.current == 1
    assert cuda.fractions == []


def test_steps_are_timed_on_the_stream_of_the_runs_gpu(cuda: SimpleNamespace) -> None:
    timer = StepTimer(warm_up=0)
    timer.open(torch.device("cuda:1"), lambda: 0.0)
    timer.on_step_start(1, 0)
    timer.on_step_end(1, 0, 10)
    timer.close()
    assert cuda.recorded == ["stream of cuda:1"] * 2
    assert timer.seconds == [0.002]


def _rows(**kinds: int | None) -> list[Memory]:
    plain: dict[str, Any] = {"stage": "train", "component": "total", "source": "measured"}
    return [Memory(kind=kind, bytes=count, reason=None, **plain) for kind, count in kinds.items()]


@pytest.mark.parametrize(
    ("device", "taken", "fits"),
    [
        ("cpu", {"requested": 90, "reserved": None}, True),
        ("cpu", {"requested": 110, "reserved": None}, False),
        ("cuda", {"requested": 90, "reserved": 110}, False),
        ("cuda", {"requested": 110, "reserved": 100, "device_used": 700}, True),
    ],
)
def test_a_budget_is_of_requested_bytes_on_a_cpu_and_of_reserved_ones_on_cuda(
    device: str, taken: dict[str, int | None], fits: bool
) -> None:
    limits = Limits(memory_bytes=100)
    if fits:
        must_fit(_rows(**taken), limits.memory_bytes, device)
    else:
        with pytest.raises(OverBudget):
            must_fit(_rows(**taken), limits.memory_bytes, device)


def test_the_batch_of_training_is_gone_when_evaluation_is_read(
    small: Callable[[dict[str, Any]], RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    stages: list[str] = []
    batch: list[weakref.ref[torch.Tensor]] = []

    def read(trainer: Any, stage: str, inputs: list[torch.Tensor], work: object) -> list[Memory]:
        stages.append(stage)
        assert all(each() is None for each in batch)
        batch.extend(weakref.ref(each) for each in inputs)
        return []

    monkeypatch.setattr(passes, "_by_allocator", read)
    passes.allocator_pass(assemble(small({})))
    assert stages == ["train", "eval"]
    assert batch
