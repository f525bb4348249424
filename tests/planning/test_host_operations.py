"""What a host takes for one operation is the time of a step by the kernels in it."""

import itertools
from types import SimpleNamespace

import pytest

from scalelab.planning import host_operations
from scalelab.planning.cost import Cost
from scalelab.planning.host_operations import operation_seconds


@pytest.fixture
def kernels(monkeypatch):
    """Kernels of the steps that are counted; the clock then says one second more at each look."""
    ticks = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: float(next(ticks)))
    monkeypatch.setattr(host_operations, "time", clock)
    monkeypatch.setattr(host_operations, "_SMALL", host_operations._SMALL | {"data.num_users": 500})
    for name, value in {"_WARM_UP": 1, "_WINDOW": 4, "_WINDOWS": 2}.items():
        monkeypatch.setattr(host_operations, name, value)
    made: list[Cost] = []

    def counted():
        made.append(Cost())
        return made[-1]

    monkeypatch.setattr(host_operations, "Cost", counted)
    return made


def test_it_is_the_time_of_a_step_by_the_kernels_in_it(kernels):
    found = operation_seconds("cpu")
    (cost,) = kernels
    count = sum(piece.kernels * piece.times for piece in cost.pieces)
    # Two blocks of attention and feed-forward, forward and backward, and tiles of the loss.
    assert 50 < count < 400
    # The clock is read once a window of four steps.
    assert found == pytest.approx(1.0 / 4 / count)
