import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch, sce
from scalelab.losses.dense_ce import DenseCE
from scalelab.losses.sce import SCE


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
    """SCE bucket by bucket, as its paper tells it."""
    random = batch.given["random"]
    centres = random.T @ hidden_ND if loss.mix_x else random
    losses = []
    for centre in centres:
        rows = (hidden_ND @ centre).topk(min(loss.bucket_size_x, len(hidden_ND))).indices
        scores_V = (table_VD @ centre).detach().clone()
        scores_V[batch.pad_id] = -torch.inf
        items = scores_V.topk(loss.bucket_size_y).indices
        loss_N = torch.full((len(hidden_ND),), -torch.inf, dtype=torch.float64)
        for row in rows.tolist():
            target = batch.targets_N[row]
            seen = torch.cat([target.view(1), items[items != target]])
            logits = table_VD[seen] @ hidden_ND[row]
            loss_N[row] = logits.logsumexp(0) - logits[0]
        losses.append(loss_N)
    worst_N = torch.stack(losses).amax(0)
    return worst_N[worst_N > -torch.inf].mean()


def assert_equal(ours, theirs, tolerance=1e-10):
    for mine, other in zip(ours, theirs, strict=True):
        assert (mine - other).norm() <= tolerance * max(1.0, other.norm().item())


@settings(deadline=None, max_examples=50)
@given(data=st.data())
def test_a_position_counts_its_largest_loss_over_buckets(data):
    draw = data.draw
    N, V = draw(st.integers(1, 15)), draw(st.integers(2, 30))
    loss = SCE(
        n_buckets=draw(st.integers(1, 5)),
        bucket_size_x=draw(st.integers(1, 18)),
        bucket_size_y=draw(st.integers(1, V - 1)),
        mix_x=draw(st.booleans()),
    )
    hidden_ND, table_VD, batch = problem(
        N, V, pad_last=draw(st.booleans()), seed=draw(st.integers(0, 99))
    )
    shape = (N, loss.n_buckets) if loss.mix_x else (loss.n_buckets, 4)
    batch.given["random"] = torch.randn(shape, dtype=torch.float64, generator=batch.generator)
    value = plain(loss, hidden_ND, table_VD, batch)
    expected = (value.detach(), *torch.autograd.grad(value, (hidden_ND, table_VD)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sce, "_TILE", draw(st.sampled_from([1, 60, 2**19])))
        assert_equal(with_gradients(loss, hidden_ND, table_VD, batch), expected)


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_one_bucket_of_everything_is_exact(scale):
    loss = SCE(n_buckets=1, bucket_size_x=30, bucket_size_y=49)
    hidden_ND, table_VD, batch = problem(30, 50, scale=scale)
    expected = with_gradients(DenseCE(), hidden_ND, table_VD, batch)
    assert_equal(with_gradients(loss, hidden_ND, table_VD, batch), expected)


def test_equal_buckets_share():
    # The same bucket twice must count once.
    hidden_ND, table_VD, batch = problem(20, 30)
    centre = torch.randn(1, 4, dtype=torch.float64, generator=batch.generator)
    results = []
    for copies in (1, 3):
        loss = SCE(n_buckets=copies, bucket_size_x=8, bucket_size_y=10)
        batch.given["random"] = centre.expand(copies, 4)
        results.append(with_gradients(loss, hidden_ND, table_VD, batch))
    assert_equal(*results, tolerance=1e-14)


@pytest.mark.parametrize("mix_x", [False, True])
def test_the_generator_decides(mix_x):
    loss = SCE(bucket_size_y=20, mix_x=mix_x)
    first = with_gradients(loss, *problem(50, 80))
    assert_equal(with_gradients(loss, *problem(50, 80)), first, tolerance=0)
    hidden_ND, table_VD, batch = problem(50, 80)
    batch.generator.manual_seed(77)
    assert loss(hidden_ND, table_VD, batch) != first[0]


def test_bf16_autocast_sums_in_float32():
    loss = SCE(n_buckets=1, bucket_size_x=200, bucket_size_y=50)
    expected = with_gradients(loss, *problem(200, 300, dtype=torch.float32))
    hidden_ND, table_VD, batch = problem(200, 300, dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value, *gradients = with_gradients(loss, hidden_ND, table_VD, batch)
    assert value.dtype == torch.float32
    assert abs(value / expected[0] - 1) < 2e-3
    for mine, other in zip(gradients, expected[1:], strict=True):
        assert mine.dtype == torch.float32
        assert (mine - other).norm() < 2e-2 * other.norm()


def test_a_fake_step_has_the_shapes_of_a_real_one():
    with FakeTensorMode():
        hidden_ND = torch.empty(2000, 64, requires_grad=True)
        table_VD = torch.empty(1_000_001, 64, requires_grad=True)
        batch = LossBatch(targets_N=torch.ones(2000, dtype=torch.int64), num_items=1_000_000)
        loss = SCE()(hidden_ND, table_VD, batch)
        loss.backward()
    assert loss.shape == ()
    assert (hidden_ND.grad.shape, table_VD.grad.shape) == (hidden_ND.shape, table_VD.shape)


@pytest.mark.parametrize("name", ["n_buckets", "bucket_size_x", "bucket_size_y"])
def test_bad_options_fail_at_once(name):
    with pytest.raises(ValueError, match=name):
        SCE(**{name: 0})


def test_buckets_of_more_items_than_there_are_are_refused():
    with pytest.raises(SpecError, match="10 items into a bucket and there are 9"):
        SCE(bucket_size_y=10)(*problem(30, 10))


def test_given_numbers_must_fit():
    hidden_ND, table_VD, batch = problem(30, 40)
    batch.given["random"] = torch.zeros(2, 5)
    with pytest.raises(SpecError, match=r"\(2, 5\)"):
        SCE(bucket_size_y=9)(hidden_ND, table_VD, batch)
