"""The laws of every loss: found by name, so that a new file is under test at once."""

from importlib.util import find_spec

import pytest
import torch

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra
from scalelab.losses import LossBatch, Negatives

CUDA_ONLY = {"cut_ce": "cut_cross_entropy", "liger_ce": "liger_kernel"}
SMALL = {"sce": {"bucket_size_y": 16}, "rece": {"n_buckets": 4, "rounds": 2}}
NUM_POSITIONS, NUM_ITEMS, DEPTH = 40, 60, 8


@pytest.fixture(params=[name for name in plugins.available("losses") if name not in CUDA_ONLY])
def loss(request, device):
    """Each loss in turn, but for those of other packages for CUDA, whose test is the last one."""
    try:
        part = plugins.load("losses", request.param)
    except MissingExtra as missing:
        pytest.skip(str(missing))
    if request.param == "linear_ce" and not hasattr(torch.nn.functional, "linear_cross_entropy"):
        pytest.skip("linear_ce needs torch 2.13")
    made = part(**SMALL.get(request.param, {}))
    assert part.needs_negatives in (True, False)
    return made


def name_of(loss) -> str:
    return type(loss).__module__.rpartition(".")[2]


def problem(device="cpu", dtype=torch.float32, seed=0):
    """Hidden states, table and a batch with negatives of all three kinds, on `device`."""
    draw = torch.Generator().manual_seed(seed)

    def ids(*shape):
        return torch.randint(1, NUM_ITEMS + 1, shape, generator=draw, dtype=torch.int32).to(device)

    hidden_ND = torch.randn(NUM_POSITIONS, DEPTH, generator=draw, dtype=dtype)
    items_VD = torch.randn(NUM_ITEMS + 1, DEPTH, generator=draw, dtype=dtype)
    items_VD[0] = 0
    own_NK = ids(NUM_POSITIONS, 6)
    own_NK[::3, 4:] = 0
    batch = LossBatch(
        targets_N=ids(NUM_POSITIONS).long(),
        num_items=NUM_ITEMS,
        sequence_N=(torch.arange(NUM_POSITIONS, dtype=torch.int32) // 8).to(device),
        negatives=(
            Negatives("position", own_NK),
            Negatives("sequence", ids(NUM_POSITIONS // 8, 5), 0.5),
            Negatives("batch", ids(7), 1.0),
        ),
        log_popularity_V=torch.randn(NUM_ITEMS + 1, generator=draw, dtype=dtype).to(device),
        generator=torch.Generator().manual_seed(7),
    )
    return hidden_ND.to(device).requires_grad_(), items_VD.to(device).requires_grad_(), batch


def gradients(loss, hidden_ND, items_VD, batch):
    value = loss(hidden_ND, items_VD, batch)
    return value.detach(), *torch.autograd.grad(value, (hidden_ND, items_VD))


def test_is_a_finite_scalar_with_finite_gradients(loss, device):
    value, grad_hidden_ND, grad_items_VD = gradients(loss, *problem(device))
    assert value.shape == ()
    assert all(torch.isfinite(each).all() for each in (value, grad_hidden_ND, grad_items_VD))
    assert grad_hidden_ND.abs().sum() > 0


def test_a_step_downhill_lowers_it(loss, device):
    hidden_ND, items_VD, batch = problem(device, torch.float64)
    value, *steps = gradients(loss, hidden_ND, items_VD, batch)
    size = 1e-4 / sum(step.norm() for step in steps)
    with torch.no_grad():
        again = problem(device, torch.float64)[2]
        lower = loss(hidden_ND - size * steps[0], items_VD - size * steps[1], again)
    slope = (value - lower) / (size * sum(step.norm() ** 2 for step in steps))
    assert slope.item() == pytest.approx(1, rel=1e-2)


def test_the_padding_row_has_no_part(loss, device):
    hidden_ND, items_VD, batch = problem(device)
    value, _, grad_items_VD = gradients(loss, hidden_ND, items_VD, batch)
    assert not grad_items_VD[0].any()
    if name_of(loss) == "rece":
        return  # There the padding row is sorted and cut like any other: moving it moves the cuts.
    with torch.no_grad():
        items_VD[0] = 3
    assert torch.equal(value, loss(hidden_ND, items_VD, problem(device)[2]).detach())


def test_is_the_same_at_every_call(loss, device):
    first = gradients(loss, *problem(device))
    again = gradients(loss, *problem(device))
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_repeating_every_position_changes_nothing_but_the_mean(loss, device):
    if name_of(loss) in {"rece", "sce"}:
        pytest.skip("chunks and buckets depend on the number of positions")
    hidden_ND, items_VD, batch = problem(device, torch.float64)
    value, _, grad_items_VD = gradients(loss, hidden_ND, items_VD, batch)
    twice = LossBatch(
        targets_N=batch.targets_N.repeat(2),
        num_items=NUM_ITEMS,
        sequence_N=batch.sequence_N.repeat(2),
        negatives=(
            batch.negatives[0]._replace(ids=batch.negatives[0].ids.repeat(2, 1)),
            *batch.negatives[1:],
        ),
        log_popularity_V=batch.log_popularity_V,
    )
    doubled, _, grad_doubled_VD = gradients(loss, hidden_ND.repeat(2, 1), items_VD, twice)
    torch.testing.assert_close(doubled, value, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(grad_doubled_VD, grad_items_VD, rtol=1e-9, atol=1e-12)


def test_without_gradients_the_value_is_the_same(loss, device):
    hidden_ND, items_VD, batch = problem(device)
    value = loss(hidden_ND, items_VD, batch)
    with torch.no_grad():
        bare = loss(hidden_ND, items_VD, problem(device)[2])
    assert not bare.requires_grad
    torch.testing.assert_close(bare, value.detach())


@pytest.mark.parametrize("frozen", ["hidden", "table"])
def test_one_gradient_alone_is_the_same(loss, device, frozen):
    _, *both = gradients(loss, *problem(device))
    hidden_ND, items_VD, batch = problem(device)
    hidden_ND.requires_grad_(frozen != "hidden")
    items_VD.requires_grad_(frozen != "table")
    loss(hidden_ND, items_VD, batch).backward()
    got, still, wanted = (
        (items_VD, hidden_ND, both[1]) if frozen == "hidden" else (hidden_ND, items_VD, both[0])
    )
    assert still.grad is None
    torch.testing.assert_close(got.grad, wanted)


def test_under_autocast_it_is_near_and_keeps_types(loss, device):
    value, *grads = gradients(loss, *problem(device))
    hidden_ND, items_VD, batch = problem(device)
    with torch.autocast(device, dtype=torch.bfloat16):
        near = loss(hidden_ND, items_VD, batch)
    near.backward()
    if name_of(loss) != "linear_ce":  # torch's own: its type is not ours to promise
        assert near.dtype == torch.float32
    assert hidden_ND.grad.dtype == items_VD.grad.dtype == torch.float32
    if name_of(loss) in {"rece", "sce"}:
        return  # Rounding may move a position to another bucket.
    assert near.item() == pytest.approx(value.item(), rel=0.02)
    for grad, exact in ((hidden_ND.grad, grads[0]), (items_VD.grad, grads[1])):
        assert (grad - exact).norm() <= 0.05 * exact.norm()


def test_takes_hidden_states_of_bfloat16_under_autocast(loss, device):
    hidden_ND, items_VD, batch = problem(device)
    low_ND = hidden_ND.detach().bfloat16().requires_grad_()
    with torch.autocast(device, dtype=torch.bfloat16):
        loss(low_ND, items_VD, batch).backward()
    assert low_ND.grad.dtype == torch.bfloat16
    assert items_VD.grad.dtype == torch.float32


@pytest.mark.parametrize("device", ["cpu"])  # fake tensors are on no device
def test_runs_on_fake_tensors(loss, device):
    hidden_ND, items_VD, batch = problem()
    mode = torch._subclasses.FakeTensorMode()

    def fake(tensor):
        return mode.from_tensor(tensor.detach())

    pretend = LossBatch(
        targets_N=fake(batch.targets_N),
        num_items=NUM_ITEMS,
        sequence_N=fake(batch.sequence_N),
        negatives=tuple(n._replace(ids=fake(n.ids)) for n in batch.negatives),
        log_popularity_V=fake(batch.log_popularity_V),
    )
    hidden_ND, items_VD = fake(hidden_ND).requires_grad_(), fake(items_VD).requires_grad_()
    with mode:
        value = loss(hidden_ND, items_VD, pretend)
        value.backward()
    assert value.shape == ()
    assert (hidden_ND.grad.shape, items_VD.grad.shape) == (hidden_ND.shape, items_VD.shape)


def test_a_second_backward_says_why_it_cannot_be(loss, device):
    value = loss(*problem(device))
    value.backward(retain_graph=True)
    if name_of(loss) in {"linear_ce", "dense_ce"}:
        return
    with pytest.raises(RuntimeError, match="call the loss again"):
        value.backward()


class _Afresh(torch.autograd.Function):
    """The loss, formed anew at every backward pass: gradcheck takes several."""

    @staticmethod
    def forward(ctx, hidden_ND, items_VD, loss, device):
        ctx.save_for_backward(hidden_ND, items_VD)
        ctx.rest = (loss, device)
        return loss(hidden_ND, items_VD, problem(device, torch.float64)[2])

    @staticmethod
    def backward(ctx, scale):
        loss, device = ctx.rest
        with torch.enable_grad():
            inputs = [each.detach().requires_grad_() for each in ctx.saved_tensors]
            value = loss(*inputs, problem(device, torch.float64)[2])
        return *torch.autograd.grad(value, inputs, scale), None, None


def test_gradients_are_those_of_small_differences(loss, device):
    if name_of(loss) in {"rece", "sce"}:
        pytest.skip("chunks and buckets jump; test_rece and test_sce hold them against plain code")
    hidden_ND, items_VD, _ = problem(device, torch.float64)
    few_ND = hidden_ND.detach().requires_grad_()

    def value(hidden_ND, items_VD):
        return _Afresh.apply(hidden_ND, items_VD, loss, device)

    assert torch.autograd.gradcheck(value, (few_ND, items_VD), fast_mode=True)


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")  # what they import and compile may warn
@pytest.mark.parametrize("name", CUDA_ONLY)
def test_an_external_implementation_gives_finite_gradients(name):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA GPU answers")
    if find_spec(CUDA_ONLY[name]) is None:
        pytest.skip(f"the package {CUDA_ONLY[name]} is not installed")
    hidden_ND, items_VD, batch = problem("cuda")
    with torch.autocast("cuda", dtype=torch.bfloat16):
        value = plugins.load("losses", name)()(hidden_ND, items_VD, batch)
    value.backward()
    for each in (value, hidden_ND.grad, items_VD.grad):
        assert torch.isfinite(each).all()
    assert hidden_ND.grad.any()
    assert items_VD.grad.any()
