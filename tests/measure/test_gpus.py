"""Which GPUs there are, told by a stand-in for NVML."""

from types import SimpleNamespace

import pytest
import torch

from scalelab.core.errors import SpecError
from scalelab.core.spec import RunSpec
from scalelab.measure import gpus
from scalelab.measure.gpus import Gpu, check_device, chosen, on_this_machine, visible_gpus
from scalelab.measure.probes.nvml import Nvml


def _gpu(letter: str, **changes) -> Gpu:
    plain = {"name": "H100", "memory_bytes": 80 * 2**30, "capability": (9, 0)}
    return Gpu(**{"uuid": f"GPU-{letter * 4}", **plain, **changes})


A, B, C = _gpu("a"), _gpu("b"), _gpu("c")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (None, "abc"),
        ("", ""),
        ("-1", ""),
        ("2,0", "ca"),
        ("1,9,0", "b"),
        ("1,1", ""),
        ("GPU-c,GPU-aaaa", "ca"),
        ("GPU-zz", ""),
        ("GPU-", ""),
        (" 0 , 1", "ab"),
        ("NoDevFiles", ""),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(asked: str | None, expected: str) -> None:
    found = chosen([A, B, C], asked)
    assert "".join(gpu.uuid[4] for gpu in found) == expected


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A machine with a CUDA build of torch and three equal GPUs; CUDA must not be asked."""
    told = SimpleNamespace(gpus=(A, B, C), cuda=13)
    # What was found is kept for the life of a process; here the machine changes all the time.
    monkeypatch.setattr(gpus, "_visible", gpus._visible.__wrapped__)

    def not_to_be_asked() -> bool:
        raise AssertionError("this starts CUDA in the driver")

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", not_to_be_asked)
    monkeypatch.setattr(Nvml, "gpus", staticmethod(lambda: told.gpus))
    monkeypatch.setattr(Nvml, "cuda_version", staticmethod(lambda: told.cuda))
    return told


def test_nvml_answers_for_cuda(machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert visible_gpus() == (A, B, C)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible_gpus() == (B,)
    machine.cuda = 12
    assert visible_gpus() == ()
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: False)
    machine.cuda = 13
    assert visible_gpus() == ()


@pytest.mark.parametrize(
    "gpus_there",
    [None, (_gpu("a", is_sliced=True),), (A, _gpu("b", name="T4"))],
    ids=["no NVML", "MIG", "two kinds"],
)
def test_cuda_is_asked_where_nvml_cannot_know_its_order(
    gpus_there, machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.gpus = gpus_there
    slice_of_it = SimpleNamespace(
        uuid="1234", name="H100 MIG 1g.10gb", total_memory=10 * 2**30, major=9, minor=0
    )
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: slice_of_it)
    [found] = visible_gpus()
    assert (found.uuid, found.memory_bytes, found.capability) == ("GPU-1234", 10 * 2**30, (9, 0))


def test_two_kinds_of_gpu_are_in_order_by_bus_where_cuda_is_told_so(
    machine: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.gpus = (A, _gpu("b", name="T4"))
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert visible_gpus() == machine.gpus


def test_a_device_that_is_not_there_is_one_clear_line(machine: SimpleNamespace) -> None:
    for name in ("cpu", "cuda", "cuda:2"):
        check_device(name)
    with pytest.raises(SpecError, match=r"no device 'cuda:7': CUDA offers 3 GPUs here") as caught:
        check_device("cuda:7")
    assert caught.value.hint == "write cuda:0 to cuda:2"
    machine.gpus = (A,)
    with pytest.raises(SpecError, match="offers one GPU here"):
        check_device("cuda:1")
    machine.gpus = ()
    with pytest.raises(SpecError, match="no CUDA GPU found"):
        check_device("cuda")


def test_auto_is_the_gpu_where_one_answers(machine: SimpleNamespace) -> None:
    auto = RunSpec.load("sasrec-synthetic", {"device.name": "auto", "device.threads": 3})
    assert on_this_machine(auto).device == auto.with_({"device.name": "cuda"}).device
    machine.gpus = ()
    resolved = on_this_machine(auto)
    assert resolved == auto.with_({"device.name": "cpu"})
    assert on_this_machine(resolved) is resolved


def test_this_process_holds_no_cuda_after_being_asked() -> None:
    assert gpus.visible_gpus() is not None
    assert not torch.cuda.is_initialized()
