"""The losses on a GPU beside float64: tiles by both ways through the table, kernels by width."""

import pytest
import torch

from scalelab.core import plugins
from scalelab.losses import LossBatch, Negatives
from scalelab.train.precision import products_in

pytestmark = pytest.mark.gpu

NUM_POSITIONS, DEPTH = 700, 64


def problem(num_items, depth=DEPTH):
    draw = torch.Generator().manual_seed(0)
    hidden_ND = torch.randn(NUM_POSITIONS, depth, generator=draw)
    table_VD = torch.randn(num_items + 1, depth, generator=draw) * 2.4 / depth**0.5
    table_VD[0] = 0
    targets_N = torch.randint(1, num_items + 1, (NUM_POSITIONS,), generator=draw)
    targets_N[:50] = targets_N[0]
    return hidden_ND, table_VD, targets_N


def gradients(loss, hidden_ND, table_VD, targets_N):
    hidden_ND, table_VD = (x.detach().clone().requires_grad_() for x in (hidden_ND, table_VD))
    batch = LossBatch(targets_N=targets_N, num_items=table_VD.shape[0] - 1)
    value = loss(hidden_ND, table_VD, batch)
    return value.detach(), *torch.autograd.grad(value, (hidden_ND, table_VD))


def tiled(**options):
    if "kernel" in plugins.options("losses", "cross_entropy"):
        options["kernel"] = "tiled"
    return plugins.load("losses", "cross_entropy")(**options)


# 32 MiB hold the scores of all positions with one pass; half a MiB holds those of 43 positions at
# 3,000 items and of 2 at 60,000: too few, so they are computed twice.
@pytest.mark.parametrize("tile_mib", [32, 4, 0.5])
@pytest.mark.parametrize("num_items", [3_000, 60_000])
def test_tiles_give_the_gradients_of_float64(cuda, tile_mib, num_items):
    inputs = problem(num_items)
    exact = plugins.load("losses", "dense_ce")()
    wanted = gradients(exact, inputs[0].double(), inputs[1].double(), inputs[2])
    there = [each.to(cuda) for each in inputs]
    found = gradients(tiled(tile_mib=tile_mib), *there)
    again = gradients(tiled(tile_mib=tile_mib), *there)
    for got, same, true in zip(found, again, wanted, strict=True):
        assert (got.cpu().double() - true).norm() <= 5e-6 * true.norm()
        assert torch.equal(got, same)
    assert not found[2][0].any()


# Widths that kernels pad to 16, 64, 128 and 256; relative errors that the types explain.
@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 1e-5), ("tf32", 5e-3), ("bf16", 2e-2)])
@pytest.mark.parametrize("depth", [8, 50, 128, 200])
def test_fused_gradients_are_those_of_float64_at_any_width(cuda, depth, precision, allowed):
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("its kernels need compute capability 8.0")
    pytest.importorskip("triton")
    inputs = problem(3_001, depth)
    exact = plugins.load("losses", "dense_ce")()
    wanted = gradients(exact, inputs[0].double(), inputs[1].double(), inputs[2])
    there = [each.to(cuda) for each in inputs]
    loss = plugins.load("losses", "cross_entropy")(kernel="fused")
    half = torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16")
    with products_in(precision), half:
        found, again = (gradients(loss, *there) for _ in range(2))
    for got, same, true in zip(found, again, wanted, strict=True):
        assert (got.cpu().double() - true).norm() <= allowed * true.norm()
        assert torch.equal(got, same)
    assert not found[2][0].any()


def streamed(name, hidden_ND, table_VD, batch):
    """The loss and both gradients, that of the table made by tiles of 1,000 rows."""
    hidden_ND = hidden_ND.detach().clone().requires_grad_()
    grad_VD = torch.zeros(table_VD.shape, device=table_VD.device)
    loss = plugins.load("losses", name)(kernel="fused")
    value, gradient = loss.streamed(hidden_ND, table_VD, batch)
    (grad_ND,) = torch.autograd.grad(value, hidden_ND)
    for ids_M, rows_MD in gradient.single_rows():
        grad_VD.index_put_((ids_M.long(),), rows_MD, accumulate=True)
    for first in range(0, len(table_VD), 1000) if gradient.touches_all else ():
        last = min(first + 1000, len(table_VD))
        gradient.add_tile(grad_VD[first:last], first, last)
    return value.detach(), grad_ND, grad_VD


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 1e-5), ("tf32", 5e-3), ("bf16", 2e-2)])
@pytest.mark.parametrize("table_dtype", [torch.float32, torch.bfloat16], ids=["fp32", "bf16"])
@pytest.mark.parametrize("name", ["cross_entropy", "sampled_softmax"])
def test_streamed_kernels_give_the_gradients_of_float64(
    cuda, name, table_dtype, precision, allowed
):
    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("its kernels need compute capability 8.0")
    pytest.importorskip("triton")
    hidden_ND, table_VD, targets_N = problem(3_001, 50)
    table_VD = table_VD.to(table_dtype)  # what the exact gradients are by as well
    shared = torch.arange(1, 900, 3, dtype=torch.int32)

    def batch_on(device):
        sources = (Negatives("batch", shared.to(device)),)
        return LossBatch(targets_N=targets_N.to(device), num_items=3_001, negatives=sources)

    exact = [each.double().requires_grad_() for each in (hidden_ND, table_VD)]
    loss = plugins.load("losses", "dense_ce" if name == "cross_entropy" else name)
    value = loss()(*exact, batch_on("cpu"))
    wanted = value.detach(), *torch.autograd.grad(value, exact)
    there = hidden_ND.to(cuda), table_VD.to(cuda), batch_on(cuda)
    half = torch.autocast("cuda", dtype=torch.bfloat16, enabled=precision == "bf16")
    with products_in(precision), half:
        found, again = (streamed(name, *there) for _ in range(2))
    for got, same, true in zip(found, again, wanted, strict=True):
        assert (got.cpu().double() - true).norm() <= allowed * true.norm()
        assert torch.equal(got, same)
    assert not found[2][0].any()


@pytest.mark.parametrize("name", ["cross_entropy", "sampled_softmax"])
def test_auto_takes_the_fused_kernel_where_there_is_one(cuda, name, caplog):
    if "kernel" not in plugins.options("losses", name):
        pytest.skip(f"{name} has no option `kernel`")
    from scalelab.losses.kernels.choice import kernels_used

    if torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("its kernels need compute capability 8.0")
    pytest.importorskip("triton")
    hidden_ND, table_VD, targets_N = (each.to(cuda) for each in problem(3_000))
    shared = (Negatives("batch", torch.arange(1, 200, device=cuda, dtype=torch.int32)),)
    batch = LossBatch(targets_N=targets_N, num_items=3_000, negatives=shared)
    inputs = hidden_ND.requires_grad_(), table_VD.requires_grad_()
    plugins.load("losses", name)()(*inputs, batch).backward()
    assert kernels_used[name] == "fused", caplog.text
