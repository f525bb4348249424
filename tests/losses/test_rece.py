import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC2701

from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch, _rece_tiles  # noqa: PLC2701
from scalelab.losses.dense_ce import DenseCE
from scalelab.losses.rece import RECE

from .rounding import softmax_rounding


def problem(N, V, D=4, *, pad_last=False, scale=1.0, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    hidden_ND = torch.randn(N, D, dtype=dtype, generator=generator).mul_(scale)
    table_VD = torch.randn(V, D, dtype=dtype, generator=generator)
    pad_id = V - 1 if pad_last else 0
    table_VD[pad_id] = 0
    low = 0 if pad_last else 1
    targets_N = torch.randint(low, low + V - 1, (N,), generator=generator)
    generator.manual_seed(seed + 1)
    batch = LossBatch(targets_N=targets_N, num_items=V - 1, pad_id=pad_id, generator=generator)
    return hidden_ND.requires_grad_(), table_VD.requires_grad_(), batch


def with_gradients(loss, hidden_ND, table_VD, batch):
    value = loss(hidden_ND, table_VD, batch)
    return value.detach(), *torch.autograd.grad(value, (hidden_ND, table_VD))


def plain(loss, hidden_ND, table_VD, batch):
    """RECE by its definition in one sentence, with a whole matrix of who sees what."""
    N, V = hidden_ND.shape[0], table_VD.shape[0]

    def chunk(rows, vectors):
        order = (rows @ vectors.T).argmax(1).sort(stable=True).indices
        chunk_M = torch.empty_like(order)
        chunk_M[order] = torch.arange(len(rows)) * loss.n_chunks // len(rows)
        return chunk_M

    visible_NV = torch.zeros(N, V, dtype=torch.bool)
    for vectors in batch.given["buckets"]:
        apart = chunk(hidden_ND, vectors)[:, None] - chunk(table_VD, vectors)
        visible_NV |= apart.abs() <= loss.n_extra_chunks
    visible_NV[:, batch.pad_id] = False
    visible_NV[torch.arange(N), batch.targets_N] = True
    logits_NV = (hidden_ND @ table_VD.T).masked_fill(~visible_NV, -torch.inf)
    return torch.nn.functional.cross_entropy(logits_NV, batch.targets_N)


def assert_equal(ours, theirs, tolerance=1e-10, rounding=(0.0, 0.0, 0.0)):
    for mine, other, rounded in zip(ours, theirs, rounding, strict=True):
        assert (mine - other).norm() <= tolerance * max(1.0, other.norm().item()) + rounded


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_it_is_the_softmax_over_what_some_round_shows(data):
    draw = data.draw
    N, V = draw(st.integers(1, 40)), draw(st.integers(2, 60))
    loss = RECE(
        rounds=draw(st.integers(1, 3)),
        n_extra_chunks=draw(st.integers(0, 3)),
        n_buckets=draw(st.integers(1, 20)),
        n_chunks=draw(st.integers(1, V - 1)),
    )
    hidden_ND, table_VD, batch = problem(
        N, V, pad_last=draw(st.booleans()), seed=draw(st.integers(0, 99))
    )
    batch.given["buckets"] = torch.randn(
        loss.rounds, loss.n_buckets, 4, dtype=torch.float64, generator=batch.generator
    )
    value = plain(loss, hidden_ND, table_VD, batch)
    expected = (value.detach(), *torch.autograd.grad(value, (hidden_ND, table_VD)))
    with pytest.MonkeyPatch.context() as patch:
        # From one logit a tile, and a column of items at a time, to all at once.
        patch.setattr(_rece_tiles, "_TILE", draw(st.sampled_from([1, 16, 300, 2**19])))
        patch.setattr(_rece_tiles, "_GATHERED", draw(st.sampled_from([4, 40, 400, 2**21])))
        assert_equal(with_gradients(loss, hidden_ND, table_VD, batch), expected)


@settings(deadline=None, max_examples=60)
@given(
    N=st.integers(1, 30),
    V=st.integers(2, 50),
    scale=st.sampled_from([1.0, 30.0, 1e4]),
    rounds=st.integers(1, 3),
    n_chunks=st.integers(1, 6),
    tile=st.sampled_from([7, 100, 2**19]),
    seed=st.integers(0, 99),
)
def test_with_everything_visible_it_is_exact(N, V, scale, rounds, n_chunks, tile, seed):
    n_chunks = min(n_chunks, V - 1)
    loss = RECE(rounds=rounds, n_buckets=5, n_chunks=n_chunks, n_extra_chunks=n_chunks - 1)
    hidden_ND, table_VD, batch = problem(N, V, scale=scale, seed=seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_rece_tiles, "_TILE", tile)
        patch.setattr(_rece_tiles, "_GATHERED", tile)
        ours = with_gradients(loss, hidden_ND, table_VD, batch)
    expected = with_gradients(DenseCE(), hidden_ND, table_VD, batch)
    assert_equal(ours, expected, rounding=softmax_rounding(hidden_ND, table_VD))


class _Recomputed(torch.autograd.Function):
    """A loss whose backward pass may run many times, as gradcheck wants."""

    @staticmethod
    def forward(ctx, hidden_ND, table_VD, loss, batch):
        ctx.save_for_backward(hidden_ND, table_VD)
        ctx.rest = loss, batch
        return loss(hidden_ND, table_VD, batch)

    @staticmethod
    def backward(ctx, scale):
        inputs = [saved.detach().requires_grad_() for saved in ctx.saved_tensors]
        loss, batch = ctx.rest
        with torch.enable_grad():
            value = loss(*inputs, batch)
        return *(scale * g for g in torch.autograd.grad(value, inputs)), None, None


@pytest.mark.parametrize("rounds", [1, 3])
def test_gradcheck(rounds):
    loss = RECE(rounds=rounds, n_buckets=4)
    hidden_ND, table_VD, batch = problem(9, 17)
    # A padding row of zeros is equally near to all vectors: the least change of it moves the cuts.
    table_VD.data[0] = 1
    batch.given["buckets"] = torch.randn(rounds, 4, 4, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda h, t: _Recomputed.apply(h, t, loss, batch), (hidden_ND, table_VD)
    )


def test_the_generator_decides():
    loss = RECE(rounds=2)
    first = with_gradients(loss, *problem(50, 80))
    assert_equal(with_gradients(loss, *problem(50, 80)), first, tolerance=0)
    hidden_ND, table_VD, batch = problem(50, 80)
    batch.generator.manual_seed(77)
    assert loss(hidden_ND, table_VD, batch) != first[0]


@pytest.mark.parametrize("rounds", [1, 2])
def test_bf16_autocast_sums_in_float32(rounds):
    loss = RECE(rounds=rounds, n_extra_chunks=2, n_buckets=6)
    expected = with_gradients(loss, *problem(300, 400, dtype=torch.float32))
    hidden_ND, table_VD, batch = problem(300, 400, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, *gradients = with_gradients(loss, hidden_ND, table_VD, batch)
    assert value.dtype == torch.float32
    assert abs(value / expected[0] - 1) < 2e-3
    for mine, other in zip(gradients, expected[1:], strict=True):
        assert mine.dtype == torch.float32
        assert (mine - other).norm() < 2e-2 * other.norm()


def test_gradients_only_where_they_are_wanted():
    hidden_ND, table_VD, batch = problem(30, 40)
    loss, grad_ND, grad_VD = with_gradients(RECE(), hidden_ND, table_VD, batch)
    for frozen in (0, 1):
        inputs = [hidden_ND.detach(), table_VD.detach()]
        inputs[1 - frozen].requires_grad_()
        batch.generator.manual_seed(1)
        RECE()(*inputs, batch).backward()
        assert inputs[frozen].grad is None
        assert torch.equal(inputs[1 - frozen].grad, (grad_VD, grad_ND)[frozen])
    batch.generator.manual_seed(1)
    with torch.no_grad():
        assert torch.isclose(RECE()(hidden_ND, table_VD, batch), loss)


class _Watch(TorchDispatchMode):
    """Counts operations and keeps (address, bytes) of every storage that they return."""

    def __init__(self):
        super().__init__()
        self.num_operations, self.storages = 0, set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.num_operations += 1
        for tensor in out if isinstance(out, list | tuple) else (out,):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.storages.add((storage._cdata, storage.nbytes()))
        return out


@pytest.mark.parametrize("rounds", [1, 2])
def test_nothing_has_the_size_of_the_table_but_its_gradient(rounds, monkeypatch):
    monkeypatch.setattr(_rece_tiles, "_GATHERED", 2**16)
    monkeypatch.setattr(_rece_tiles, "_TILE", 2**16)
    hidden_ND, table_VD, batch = problem(100, 20_000, 32, dtype=torch.float32)
    with _Watch() as watch:
        RECE(rounds=rounds, n_buckets=40)(hidden_ND, table_VD, batch).backward()
    table_bytes = table_VD.untyped_storage().nbytes()
    large = {address for address, size in watch.storages if size > table_bytes * 0.9}
    own = {table_VD.untyped_storage()._cdata}
    assert large - own == {table_VD.grad.untyped_storage()._cdata}


@pytest.mark.parametrize("rounds", [1, 2])
def test_a_fake_step_takes_few_operations_at_any_size(rounds):
    def count(num_items):
        with FakeTensorMode():
            hidden_ND = torch.empty(2000, 64, requires_grad=True)
            table_VD = torch.empty(num_items + 1, 64, requires_grad=True)
            batch = LossBatch(targets_N=torch.ones(2000, dtype=torch.int64), num_items=num_items)
            with _Watch() as watch:
                RECE(rounds=rounds)(hidden_ND, table_VD, batch).backward()
            assert table_VD.grad.shape == table_VD.shape
        return watch.num_operations

    assert count(500_000) <= 1.1 * count(50_000) < 2000


@pytest.mark.parametrize(
    "options",
    [
        {"rounds": 0},
        {"n_extra_chunks": -1},
        {"n_buckets": 0},
        {"n_chunks": -3},
    ],
)
def test_bad_options_fail_at_once(options):
    (name,) = options
    with pytest.raises(ValueError, match=name):
        RECE(**options)


def test_more_chunks_than_items_are_refused():
    with pytest.raises(SpecError, match="cannot cut 9 items into 10 chunks"):
        RECE(n_buckets=10)(*problem(30, 10))


def test_given_vectors_must_fit():
    hidden_ND, table_VD, batch = problem(30, 40)
    batch.given["buckets"] = torch.zeros(2, 5, 4)
    with pytest.raises(SpecError, match=r"\(2, 5, 4\)"):
        RECE(rounds=1)(hidden_ND, table_VD, batch)


def test_the_papers_number_of_buckets():
    # sqrt(4 (1 + 2) 6400) and, for the balance of time, sqrt(3 (1 + 2) 6400 / (1 + 0.064)).
    assert RECE(n_buckets="paper")._num_buckets(6400, 100_000) == 277
    assert RECE()._num_buckets(6400, 100_000) == 233
    assert RECE(n_extra_chunks=4, rounds=4)._num_buckets(1, 100_000) == 1
