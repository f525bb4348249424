"""Deterministic algorithms are on for one operation alone; lookups give the same bits."""

import pytest
import torch

from scalelab.core.target import Target, predicted_target
from scalelab.models._lookup import rows_at  # noqa: PLC2701
from scalelab.models.one_order import add_in_one_order, deterministic_as_before


class _Noted(torch.autograd.Function):
    """Twice the numbers; notes whether deterministic algorithms are on as it runs backward."""

    @staticmethod
    def forward(ctx, x, name, noted, fails=False):
        ctx.name, ctx.noted, ctx.fails = name, noted, fails
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        ctx.noted[ctx.name] = torch.are_deterministic_algorithms_enabled()
        if ctx.fails:
            raise MemoryError
        return 2 * grad, None, None, None


def chain(noted, fails=False):
    """Three operations, of which the middle one adds in one order."""
    x = torch.ones(3, requires_grad=True)
    first = _Noted.apply(x, "first", noted)
    middle = _Noted.apply(first, "middle", noted, fails)
    add_in_one_order(middle, (first, torch.zeros(1)))
    return _Noted.apply(middle, "last", noted).sum()


def test_they_are_on_for_the_operation_alone():
    noted = {}
    chain(noted).backward()
    assert noted == {"last": False, "middle": True, "first": False}
    assert not torch.are_deterministic_algorithms_enabled()


def test_they_are_off_again_where_the_operation_fails():
    noted = {}
    with pytest.raises(MemoryError), deterministic_as_before():
        chain(noted, fails=True).backward()
    assert noted == {"last": False, "middle": True}
    assert not torch.are_deterministic_algorithms_enabled()


def test_who_has_them_on_keeps_them_on():
    noted = {}
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        with deterministic_as_before():
            chain(noted).backward()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
    finally:
        torch.use_deterministic_algorithms(False)
    assert set(noted.values()) == {True}


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


# Indexing takes several threads from 32,768 numbers on.
def test_many_equal_ids_give_the_same_bits(two_threads):
    ids = torch.arange(100_000) % 200
    sent = torch.randn(100_000, 4, generator=torch.Generator().manual_seed(0))

    def gradient():
        table_RD = torch.zeros(200, 4, requires_grad=True)
        rows_at(table_RD, ids).backward(sent)
        return table_RD.grad

    first = gradient()
    assert all(torch.equal(first, gradient()) for _ in range(5))


@pytest.mark.parametrize(("count", "way"), [(3072, "EmbeddingBackward"), (3073, "IndexBackward")])
def test_a_gpu_looks_many_up_by_an_index(count, way):
    token = predicted_target.set(Target("cuda", 2**34, (9, 0)))
    try:
        table_RD = torch.randn(7, 4, requires_grad=True)
        ids = (torch.arange(count, dtype=torch.int32) % 7).view(1, -1)
        rows = rows_at(table_RD, ids)
    finally:
        predicted_target.reset(token)
    assert rows.grad_fn is not None
    assert rows.grad_fn.name().startswith(way)
    assert torch.equal(rows, table_RD[ids.long()])
