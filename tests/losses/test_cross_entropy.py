"""Tiled cross-entropy: exact, in tiles of any size, with one buffer a gradient."""

import math
import weakref
from contextlib import nullcontext

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.losses import LossBatch, _tiled_softmax  # noqa: PLC2701
from scalelab.losses._tiled_softmax import Tile, TiledSoftmax  # noqa: PLC2701
from scalelab.losses.cross_entropy import CrossEntropy
from scalelab.losses.dense_ce import DenseCE
from scalelab.losses.rece import RECE

from .rounding import softmax_rounding


def gradients(loss, hidden_ND, items_VD, batch, scale=1.0):
    hidden_ND, items_VD = hidden_ND.clone().requires_grad_(), items_VD.clone().requires_grad_()
    value = loss(hidden_ND, items_VD, batch) * scale
    return value.detach(), *torch.autograd.grad(value, (hidden_ND, items_VD))


def assert_equal(ours, theirs, rounding=(0.0, 0.0, 0.0)):
    for one, other, rounded in zip(ours, theirs, rounding, strict=True):
        assert (one - other).abs().max() <= 1e-10 * max(1, other.abs().max()) + rounded


@settings(max_examples=60)
@given(
    num_positions=st.sampled_from([1, 2, 3, 17, 50]),
    num_rows=st.sampled_from([2, 3, 7, 8, 15, 40]),
    depth=st.integers(1, 5),
    rows=st.integers(1, 20),
    columns=st.integers(1, 16),
    room=st.sampled_from([1, 40, 300, 10_000]),
    fewest=st.sampled_from([1, 8, 1000]),
    logits=st.sampled_from([1.0, 30.0, 1e4]),
    last_is_padding=st.booleans(),
    include_padding=st.booleans(),
    repeated=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_equals_dense_in_tiles_of_any_size(
    num_positions,
    num_rows,
    depth,
    rows,
    columns,
    room,
    fewest,
    logits,
    last_is_padding,
    include_padding,
    repeated,
    seed,
):
    draw = torch.Generator().manual_seed(seed)
    hidden_ND = torch.randn(num_positions, depth, generator=draw, dtype=torch.float64)
    items_VD = torch.randn(num_rows, depth, generator=draw, dtype=torch.float64)
    hidden_ND *= logits / (hidden_ND @ items_VD.T).abs().max()
    first = 0 if last_is_padding else 1
    targets_N = torch.randint(first, first + num_rows - 1, (num_positions,), generator=draw)
    if repeated:
        targets_N[:] = targets_N[0]
    batch = LossBatch(
        targets_N=targets_N,
        num_items=num_rows - 1,
        pad_id=num_rows - 1 if last_is_padding else 0,
    )
    wanted = gradients(DenseCE(include_padding=include_padding), hidden_ND, items_VD, batch, -2.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_tiled_softmax, "_ROWS", rows)
        patch.setattr(_tiled_softmax, "_COLUMNS", columns)
        patch.setattr(_tiled_softmax, "_FEWEST_ROWS", fewest)
        tiled = CrossEntropy(tile_mib=room * 8 / 2**20, include_padding=include_padding)
        ours = gradients(tiled, hidden_ND, items_VD, batch, -2.5)
        with torch.no_grad():
            bare = tiled(hidden_ND, items_VD, batch) * -2.5
    rounding = [2.5 * part for part in softmax_rounding(hidden_ND, items_VD)]
    assert_equal(ours, wanted, rounding)
    assert_equal([bare], wanted[:1], rounding[:1])
    if not include_padding and not last_is_padding:
        # Every chunk reaches every other: all items are visible.
        everything = RECE(n_buckets=1, n_extra_chunks=1)
        ours = gradients(everything, hidden_ND, items_VD, batch, -2.5)
        assert_equal(ours, wanted, rounding)


@pytest.mark.parametrize("num_positions", [700, 1300])
@pytest.mark.parametrize("num_rows", [2049, 5000])
def test_equals_dense_in_the_tiles_it_takes_by_itself(num_positions, num_rows):
    hidden_ND = torch.randn(num_positions, 16, dtype=torch.float64)
    items_VD = torch.randn(num_rows, 16, dtype=torch.float64)
    batch = LossBatch(
        targets_N=torch.randint(1, num_rows, (num_positions,)), num_items=num_rows - 1
    )
    wanted = gradients(DenseCE(), hidden_ND, items_VD, batch)
    for tile_mib in (32, 1):
        ours = gradients(CrossEntropy(tile_mib=tile_mib), hidden_ND, items_VD, batch)
        assert_equal(ours, wanted)


def test_in_float32_it_errs_no_more_than_dense():
    hidden_ND, items_VD = torch.randn(600, 32), torch.randn(3000, 32)
    batch = LossBatch(targets_N=torch.randint(1, 3000, (600,)), num_items=2999)
    exact = gradients(DenseCE(), hidden_ND.double(), items_VD.double(), batch)
    plain = gradients(DenseCE(), hidden_ND, items_VD, batch)
    ours = gradients(CrossEntropy(), hidden_ND, items_VD, batch)
    for mine, theirs, true in zip(ours[1:], plain[1:], exact[1:], strict=True):
        assert (mine - true).norm() <= 1.5 * (theirs - true).norm()


@pytest.mark.parametrize(("num_positions", "num_rows"), [(1000, 3001), (200, 200_001)])
def test_takes_little_beside_its_gradients(num_positions, num_rows):
    hidden_ND = torch.randn(num_positions, 4, requires_grad=True)
    items_VD = torch.randn(num_rows, 4, requires_grad=True)
    batch = LossBatch(targets_N=torch.randint(1, num_rows, (num_positions,)), num_items=1)
    with Peak() as peak:
        CrossEntropy()(hidden_ND, items_VD, batch).backward()
    own = hidden_ND.nbytes + items_VD.nbytes
    assert peak.bytes - own <= 40 * 2**20


@pytest.mark.parametrize(("num_positions", "num_rows"), [(3000, 9001), (300, 30_000)])
def test_fake_tensors_show_the_peak_of_real_ones(num_positions, num_rows):
    mode = torch._subclasses.FakeTensorMode()
    peaks = []
    for convert in (lambda tensor: tensor, mode.from_tensor):
        hidden_ND = convert(torch.randn(num_positions, 4)).requires_grad_()
        items_VD = convert(torch.randn(num_rows, 4)).requires_grad_()
        targets_N = convert(torch.randint(1, num_rows, (num_positions,)))
        batch = LossBatch(targets_N=targets_N, num_items=num_rows - 1)
        with mode if peaks else nullcontext(), Peak() as peak:
            CrossEntropy(tile_mib=1)(hidden_ND, items_VD, batch).backward()
        peaks.append(peak.bytes)
    assert peaks[0] == peaks[1]


def test_the_gradient_is_the_very_buffer_that_was_formed():
    hidden_ND = torch.randn(50, 8, requires_grad=True)
    items_VD = torch.randn(400, 8, requires_grad=True)
    batch = LossBatch(targets_N=torch.randint(1, 400, (50,)), num_items=399)
    value = CrossEntropy()(hidden_ND, items_VD, batch)
    formed = [gradient.data_ptr() for gradient in value.grad_fn.gradients]
    (2 * value).backward()
    assert [hidden_ND.grad.data_ptr(), items_VD.grad.data_ptr()] == formed


@pytest.mark.parametrize("tile_mib", [0, -1])
def test_refuses_a_tile_of_nothing(tile_mib):
    with pytest.raises(ValueError, match="tile_mib must be positive"):
        CrossEntropy(tile_mib=tile_mib)


class Peak(torch.utils._python_dispatch.TorchDispatchMode):
    """The most bytes that storages made within it held at one time."""

    def __init__(self):
        super().__init__()
        self.now = self.bytes = 0
        self.known = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        inputs = {
            arg.untyped_storage()._cdata
            for arg in torch.utils._pytree.tree_leaves((args, kwargs))
            if isinstance(arg, torch.Tensor) and not arg.is_sparse
        }
        result = func(*args, **(kwargs or {}))
        for leaf in torch.utils._pytree.tree_leaves(result):
            if isinstance(leaf, torch.Tensor) and not leaf.is_sparse:
                storage = leaf.untyped_storage()
                key = storage._cdata
                if key not in self.known and key not in inputs:
                    self.known.add(key)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._gone, key, storage.nbytes())
        self.bytes = max(self.bytes, self.now)
        return result

    def _gone(self, key, size):
        self.known.discard(key)
        self.now -= size


def test_softmaxes_of_tiles_are_put_together_by_their_log_sums():
    """The example of `_once`: scores 0, log 2 | log 5 in tiles of two rows and one."""
    scores = torch.tensor([0.0, 2.0, 5.0], dtype=torch.float64)
    scores[1:] = scores[1:].log()
    hidden_ND = torch.ones(1, 1, dtype=torch.float64)
    table_VD = scores[:, None].clone()
    softmax = TiledSoftmax(
        hidden_ND,
        table_VD,
        torch.tensor([2]),
        pad_id=None,
        compute_dtype=torch.float64,
        tile=Tile(keeps=True, positions=1, table_rows=2, size=3),
    )
    loss, grad_hidden_ND, grad_table_VD = softmax.run(hidden_wanted=True, table_wanted=True)
    wanted = torch.tensor([1 / 8, 2 / 8, 5 / 8], dtype=torch.float64)
    assert float(loss) == pytest.approx(math.log(8) - math.log(5))
    one_hot = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)
    assert torch.allclose(grad_table_VD[:, 0], wanted - one_hot)
    assert torch.allclose(grad_hidden_ND[0, 0], (wanted - one_hot) @ scores)
