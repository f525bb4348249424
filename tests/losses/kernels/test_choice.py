"""Which way a loss takes: the fused kernels or tiles of scores."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch, Negatives, Target, loss_bytes, predicted_target
from scalelab.losses.cross_entropy import CrossEntropy
from scalelab.losses.kernels import choice
from scalelab.losses.kernels.choice import kernels_used
from scalelab.losses.sampled_softmax import SampledSoftmax
from scalelab.models.tables import ComposedRows
from scalelab.planning.cost import Cost

H100 = Target("cuda", 80 * 2**30, (9, 0), triton=True)
POSITIONS, ROWS, WIDTH, NEGATIVES = 200, 3001, 64, 512


def launches(loss, target, *, negatives=(), width=WIDTH):
    """What a step on fake tensors costs when it stands for `target`, with names of operations."""
    with FakeTensorMode(), Cost() as cost:
        hidden_ND = torch.empty(POSITIONS, width, requires_grad=True)
        table_VD = torch.empty(ROWS, width, requires_grad=True)
        targets_N = torch.ones(POSITIONS, dtype=torch.long)
        sources = tuple(
            Negatives(per, torch.ones(shape, dtype=torch.int32)) for per, shape in negatives
        )
        batch = LossBatch(targets_N=targets_N, num_items=ROWS - 1, negatives=sources)
        before = predicted_target.set(target)
        try:
            loss(hidden_ND, table_VD, batch).backward()
        finally:
            predicted_target.reset(before)
    return cost


def products(positions, rows, width=WIDTH):
    """FLOPs of four matrix products: two passes over the scores, two gradients."""
    return 8 * positions * rows * width


def test_a_gpu_takes_the_kernels_with_the_flops_of_four_products():
    assert launches(CrossEntropy(), H100).flops == products(POSITIONS, ROWS)


def test_shared_negatives_take_the_kernels_on_a_gpu():
    cost = launches(SampledSoftmax(), H100, negatives=[("batch", NEGATIVES)])
    assert cost.flops == products(POSITIONS, NEGATIVES)


def streamed(loss, *, num_shared=0, made=False):
    """As `launches` on an H100, where the gradient of the table is made by tiles of 1,000 rows."""
    with FakeTensorMode(), Cost() as cost:
        hidden_ND = torch.empty(POSITIONS, WIDTH, requires_grad=True)
        table_VD = torch.empty(ROWS, WIDTH)
        if made:
            codes_VM = torch.empty(ROWS, 2, dtype=torch.long)
            table_VD = ComposedRows(codes_VM, torch.empty(6, WIDTH // 2))
        targets_N = torch.ones(POSITIONS, dtype=torch.long)
        shared = Negatives("batch", torch.ones(num_shared, dtype=torch.int32))
        sources = (shared,) if num_shared else ()
        batch = LossBatch(targets_N=targets_N, num_items=ROWS - 1, negatives=sources)
        before = predicted_target.set(H100)
        try:
            value, gradient = loss.streamed(hidden_ND, table_VD, batch)
            value.backward()
            gradient.single_rows()
            for first in range(0, ROWS, 1000) if gradient.touches_all else ():
                last = min(first + 1000, ROWS)
                gradient.add_tile(torch.zeros(last - first, WIDTH), first, last)
        finally:
            predicted_target.reset(before)
    return cost


def test_a_streamed_update_takes_the_kernels_on_a_gpu():
    assert streamed(CrossEntropy()).flops == products(POSITIONS, ROWS)
    cost = streamed(SampledSoftmax(), num_shared=NEGATIVES)
    assert cost.flops == products(POSITIONS, NEGATIVES)


def test_rows_that_are_made_when_needed_take_the_kernels():
    assert streamed(CrossEntropy(), made=True).flops == products(POSITIONS, ROWS)


@pytest.mark.usefixtures("right_kernels")
def test_an_estimate_for_made_rows_counts_one_part_more():
    """Those of the tiles before are kept beside the parts of a tile."""
    codes_VM, codewords_CP = torch.zeros(ROWS, 2, dtype=torch.long), torch.randn(6, 4)
    rows = ComposedRows(codes_VM, codewords_CP)
    made, whole = (loss_bytes(CrossEntropy(), table, None) for table in (rows, rows[:]))
    assert made(POSITIONS, 0) == whole(POSITIONS, 0) + POSITIONS * 4 * (8 + 2)


@pytest.mark.parametrize(
    ("target", "width"),
    [
        (H100._replace(triton=False), WIDTH),
        (H100._replace(capability=(7, 5)), WIDTH),
        (H100, 300),
        (Target("cpu"), WIDTH),
    ],
)
def test_tiles_run_where_the_kernels_cannot(target, width):
    cost = launches(CrossEntropy(), target, width=width)
    assert cost.flops != products(POSITIONS, ROWS, width)
    with pytest.raises(SpecError, match="cannot run its fused kernel"):
        launches(CrossEntropy(kernel="fused"), target, width=width)


def test_negatives_of_each_position_have_no_kernel():
    own = [("position", (POSITIONS, 8))]
    with pytest.raises(SpecError, match="per batch"):
        launches(SampledSoftmax(kernel="fused"), H100, negatives=own)
    both = launches(SampledSoftmax(), H100, negatives=[*own, ("batch", NEGATIVES)])
    assert both.flops != products(POSITIONS, NEGATIVES)


def test_a_run_remembers_what_ran():
    hidden_ND, table_VD = torch.randn(5, 8), torch.randn(9, 8)
    batch = LossBatch(targets_N=torch.ones(5, dtype=torch.long), num_items=8)
    kernels_used.clear()
    CrossEntropy()(hidden_ND, table_VD, batch)
    assert kernels_used == {"cross_entropy": "tiled"}


@pytest.fixture
def right_kernels(monkeypatch):
    """As on a GPU whose kernels agree with plain float64; no kernel is launched."""
    monkeypatch.setattr(choice, "_is_right", lambda case: True)
    before = predicted_target.set(H100)
    kernels_used.clear()
    yield
    predicted_target.reset(before)
    kernels_used.clear()


@pytest.mark.usefixtures("right_kernels")
def test_an_estimate_is_no_call_of_the_loss():
    table_VD = torch.randn(ROWS, 8)
    for loss in (CrossEntropy(), SampledSoftmax()):
        assert loss_bytes(loss, table_VD, NEGATIVES) is not None
    assert kernels_used == {}


@pytest.mark.usefixtures("right_kernels")
def test_only_what_the_kernel_takes_has_an_estimate():
    table_VD = torch.randn(ROWS, 8)
    assert loss_bytes(SampledSoftmax(), table_VD, None) is None
    for loss in (SampledSoftmax(cosine=True, temperature=0.05), SampledSoftmax(top_k=3)):
        assert loss_bytes(loss, table_VD, NEGATIVES) is None


@pytest.mark.usefixtures("right_kernels")
@pytest.mark.parametrize(
    ("loss", "negatives", "streamed"),
    [
        (SampledSoftmax(), ("position", (5, 3)), False),
        (SampledSoftmax(), ("position", (5, 3)), True),
        (SampledSoftmax(cosine=True, temperature=0.05), ("batch", (3,)), False),
        (SampledSoftmax(cosine=True, temperature=0.05), ("batch", (3,)), True),
    ],
)
def test_tiles_are_remembered_where_the_loss_has_no_kernel(loss, negatives, streamed):
    per, shape = negatives
    batch = LossBatch(
        targets_N=torch.ones(5, dtype=torch.long),
        num_items=8,
        negatives=(Negatives(per, torch.full(shape, 2)),),
    )
    (loss.streamed if streamed else loss)(torch.randn(5, 8), torch.randn(9, 8), batch)
    assert list(kernels_used.values()) == ["tiled"]
