"""The tiles that are predicted for a GPU are those that the code would take on one."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab.core import plugins
from scalelab.core.units import GIB
from scalelab.losses import LossBatch, Negatives, Target, _tiles, predicted_target  # noqa: PLC2701
from scalelab.measure.components import Account
from scalelab.measure.workspaces import predicted_on_cuda
from scalelab.planning.cost import Cost
from scalelab.planning.cuda import as_on_cuda

GPU = Target("cuda", 16 * GIB, (9, 0), False)
# Where the losses in tiles take these names from autograd and autocast.
PLACES = ["cross_entropy", "rece", "sce", "_sampled", "sampled_softmax"]
DEPTH = 64
CASES: list[tuple[str, dict[str, Any], str, int]] = [
    ("cross_entropy", {}, "batch", 1),
    ("rece", {"rounds": 2}, "batch", 1),
    ("sce", {}, "batch", 1),
    ("bce", {}, "position", 256),
    ("bpr_max", {}, "batch", 4096),
    ("sampled_softmax", {"kernel": "tiled", "logq": 1.0}, "batch", 4096),
    ("sampled_softmax", {"kernel": "tiled", "top_k": 64}, "position", 256),
    ("top1_max", {}, "position", 256),
]


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=["fp32", "bf16"], autouse=True)
def plain(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """No autograd and no autocast, which empty tensors do not have; products in each type."""

    def computed(compute: Any, hidden_ND: Any, items_VD: Any, positions: int = 1) -> Any:
        return compute(hidden_ND, items_VD, True, True)

    replacements = {
        "compute_dtype_of": lambda _: request.param,
        "loss_with_gradients": computed,
        "no_autocast": nullcontext,
    }
    for name, replacement in replacements.items():
        assert hasattr(_tiles, name)
        for place in PLACES:
            module = f"scalelab.losses.{place}"
            monkeypatch.setattr(f"{module}.{name}", replacement, raising=False)


def counted(
    case: tuple[str, dict[str, Any], str, int], num_positions: int, num_items: int, device: str
) -> tuple[Cost, int]:
    """Operations of one call, and the most bytes beside operands, batch and gradients.

    Device "cpu" means fake tensors.
    """
    name, options, per, num_negatives = case
    loss = plugins.load("losses", name)(**options)
    fake = FakeTensorMode() if device == "cpu" else nullcontext()
    cost, kind = Cost(), "cuda" if device == "cuda" else "meta"
    with fake, Account(kind, predicted_on_cuda) as account:
        hidden_ND = torch.zeros(num_positions, DEPTH, device=device)
        items_VD = torch.zeros(num_items + 1, DEPTH, device=device)
        shape = (num_positions, num_negatives) if per == "position" else (num_negatives,)
        ids = torch.zeros(shape, dtype=torch.int32, device=device)
        batch = LossBatch(
            targets_N=torch.zeros(num_positions, dtype=torch.int64, device=device),
            num_items=num_items,
            negatives=(Negatives(per, ids, 1.0),),
            log_popularity_V=torch.zeros(num_items + 1, device=device),
        )
        with cost:
            loss(hidden_ND, items_VD, batch)
    operands = 2 * 4 * DEPTH * (num_positions + num_items + 1)
    given = 8 * num_positions + 4 * ids.numel() + 4 * (num_items + 1)
    return cost, account.peak_bytes - operands - given


@pytest.mark.slow
@pytest.mark.parametrize(
    ("num_items", "memory", "device"),
    [
        (3_000, 16, "meta"),
        (20_000, 4, "meta"),
        (300_000, 1, "meta"),
        (1_000_000, 64, "meta"),
        pytest.param(60_000, 1, "cuda", marks=pytest.mark.gpu),
    ],
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[2]}")
def test_tiles_are_predicted_as_cuda_dispatches_them(
    case: Any, num_items: int, memory: int, device: str
) -> None:
    """Fake tensors run three tiles for all; those without contents run each, as a GPU does."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA GPU found")
    target = GPU._replace(memory_bytes=memory * GIB)
    with as_on_cuda(target):
        predicted, predicted_bytes = counted(case, 2500, num_items, "cpu")
    token = predicted_target.set(target)
    try:
        dispatched, bytes_there = counted(case, 2500, num_items, device)
    finally:
        predicted_target.reset(token)
    predicted_kernels, kernels = (
        sum(piece.kernels * piece.times for piece in cost.pieces)
        for cost in (predicted, dispatched)
    )
    assert predicted_kernels == pytest.approx(kernels, rel=0.05)
    assert predicted.flops == pytest.approx(dispatched.flops, rel=0.01)
    assert predicted_bytes == pytest.approx(bytes_there, rel=1e-3)


@pytest.mark.parametrize("num_items", [20_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}-{case[2]}")
def test_a_tile_on_a_gpu_takes_no_more_than_it_may(case: Any, num_items: int) -> None:
    target = GPU._replace(memory_bytes=64 * GIB)
    with as_on_cuda(target):
        _, beside = counted(case, 20_000, num_items, "cpu")
    # Not as little as on a CPU either; chunks of RECE are as large as they are.
    assert (0.02 if case[0] == "rece" else 0.1) * target.tile_bytes < beside
    assert beside < 1.15 * target.tile_bytes
