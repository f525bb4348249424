"""What a run may take: the budget, never more than the device has beside the context."""

from dataclasses import replace

import pytest
import torch

from scalelab.core.errors import SpecError
from scalelab.core.units import GIB
from scalelab.planning import limits
from scalelab.planning.devices import load_device
from scalelab.planning.limits import limit_bytes, sizes_that_exist, target_for

GPU, CPU = load_device("h100"), load_device("cpu")


def test_without_a_budget_it_is_what_the_context_leaves():
    assert GPU.context_bytes > 0
    assert limit_bytes(GPU, None) == GPU.memory_bytes - GPU.context_bytes
    assert limit_bytes(replace(GPU, context_bytes=GPU.memory_bytes + 1), None) == 0


def test_a_budget_counts_but_the_context_is_never_given_away():
    assert limit_bytes(GPU, 8 * GIB) == 8 * GIB
    assert limit_bytes(GPU, GPU.memory_bytes) == GPU.memory_bytes - GPU.context_bytes
    assert limit_bytes(CPU, CPU.memory_bytes) == CPU.memory_bytes
    with pytest.raises(SpecError, match="is more than the"):
        limit_bytes(GPU, GPU.memory_bytes + 1)


@pytest.mark.parametrize(
    ("gpus", "installed", "triton"), [(0, False, True), (1, False, False), (1, True, True)]
)
def test_triton_is_taken_to_run_but_on_this_machine_where_it_is_missing(
    monkeypatch, gpus, installed, triton
):
    monkeypatch.setattr(limits, "visible_gpus", lambda: ["gpu"] * gpus)
    found = object() if installed else None
    monkeypatch.setattr(limits.importlib.util, "find_spec", lambda name: found)
    target = target_for(GPU)
    assert target is not None
    assert (target.triton, target.memory_bytes) == (triton, GPU.memory_bytes)
    assert target_for(CPU) is None


def test_sizes_that_no_number_holds_are_refused():
    with pytest.raises(SpecError, match=r"more than 2\^63 bytes"), sizes_that_exist():
        torch.empty(2**40, 2**40, device="meta")
    with pytest.raises(RuntimeError, match="another"), sizes_that_exist():
        raise RuntimeError("another fault")
