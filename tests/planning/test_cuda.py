"""What is predicted for a GPU is what the code would do on one, as far as fake tensors can show."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode  # noqa: PLC2701

from scalelab import api
from scalelab.batches.steps import Steps
from scalelab.core import plugins
from scalelab.core.errors import PredictionUnsupported, SpecError
from scalelab.core.spec import RunSpec
from scalelab.core.units import GIB, MIB
from scalelab.datasets.load import lengths
from scalelab.losses import LossBatch, Negatives, Target, predicted_target
from scalelab.losses.cross_entropy import CrossEntropy
from scalelab.measure.components import Account
from scalelab.measure.gpus import Gpu
from scalelab.measure.workspaces import predicted_on_cuda
from scalelab.planning.cost import Cost
from scalelab.planning.cublas import Workspaces, cublas_workspace_bytes, lt_workspace_bytes
from scalelab.planning.cuda import as_on_cuda
from scalelab.planning.devices import device_for, load_device
from scalelab.planning.fake_tensor_run import FakeTensorRun
from scalelab.planning.predict import predict

Small = Callable[[dict[str, Any]], RunSpec]
GPU = Target("cuda", 16 * GIB, (9, 0), False)


def batch_of(num_positions: int, num_items: int, device: str, num_negatives: int = 0) -> LossBatch:
    """A batch of fake tensors, inside a fake mode."""
    ids = torch.empty(num_positions, num_negatives, dtype=torch.int32, device=device)
    shared = torch.empty(num_negatives, dtype=torch.int32, device=device)
    return LossBatch(
        targets_N=torch.empty(num_positions, dtype=torch.int64, device=device),
        num_items=num_items,
        negatives=(Negatives("position", ids), Negatives("batch", shared)),
    )


SAMPLED = ["bce", "bpr", "bpr_max", "gbce", "sampled_softmax", "top1", "top1_max"]


@pytest.mark.parametrize("target", [None, GPU], ids=["cpu", "cuda"])
@pytest.mark.parametrize(
    "name", [name for name in plugins.available("losses") if name not in ("cut_ce", "liger_ce")]
)
def test_operations_are_those_of_the_formula(name: str, target: Target | None) -> None:
    n, v, d, k = 3000, 9000, 64, 200
    full = 2 * n * v * d
    buckets, x, y = 40, 50, 120
    high, wide, chunks, reach = 60, 180, 50, 1
    rece = 2 * d * (chunks * (n + v) + 3 * chunks * high * (2 * reach + 1) * wide)
    sce = 2 * d * buckets * (n + v + 4 * x * y)
    expected = {
        "cross_entropy": 3 * full, "dense_ce": 3 * full, "linear_ce": 3 * full,
        "rece": rece, "sce": sce, **dict.fromkeys(SAMPLED, 2 * n * d * k * (2 + 3)),
    }[name]  # fmt: skip
    options: dict[str, dict[str, Any]] = {
        "rece": {"n_buckets": chunks, "n_extra_chunks": reach},
        "sce": {"n_buckets": buckets, "bucket_size_x": x, "bucket_size_y": y},
    }
    if name == "linear_ce" and not hasattr(torch.nn.functional, "linear_cross_entropy"):
        pytest.skip("linear_ce needs torch 2.13")
    loss = plugins.load("losses", name)(**options.get(name, {}))
    cost, token = Cost(), predicted_target.set(target)
    try:
        with FakeTensorMode(), cost:
            hidden_ND = torch.empty(n, d, requires_grad=True)
            items_VD = torch.empty(v + 1, d, requires_grad=True)
            loss(hidden_ND, items_VD, batch_of(n, v, "cpu", k)).backward()
    finally:
        predicted_target.reset(token)
    assert cost.flops == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fused_kernels_count_four_products_and_six_narrow_ones_for_a_wide_one(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    n, v, d = 3000, 9000, 64
    monkeypatch.setattr("scalelab.losses.cross_entropy.compute_dtype_of", lambda _: dtype)
    with FakeTensorMode(), Cost() as cost, as_on_cuda(GPU._replace(triton=True)):
        hidden_ND = torch.empty(n, d, requires_grad=True)
        items_VD = torch.empty(v + 1, d, requires_grad=True)
        CrossEntropy(kernel="fused")(hidden_ND, items_VD, batch_of(n, v, "cpu")).backward()
    assert cost.flops == pytest.approx(4 * 2 * n * v * d, rel=0.01)
    used = {piece.precision for piece in cost.pieces if piece.flops}
    assert used == {"bf16x6" if dtype is torch.float32 else "bf16"}


def test_scores_that_are_formed_twice_are_counted_twice() -> None:
    n, v, d = 3000, 9000, 64
    with FakeTensorMode(), Cost() as cost:
        hidden_ND = torch.empty(n, d, requires_grad=True)
        items_VD = torch.empty(v + 1, d, requires_grad=True)
        CrossEntropy(tile_mib=0.5)(hidden_ND, items_VD, batch_of(n, v, "cpu"))
    assert cost.flops == pytest.approx(4 * 2 * n * v * d, rel=0.01)


def attended(
    capability: tuple[int, int],
    length: int,
    width: int,
    dtype: torch.dtype,
    *,
    bias: Callable[[], torch.Tensor] | None = None,
) -> list[str]:
    """Names of what attention dispatches, and the widths of the rows of its bias."""
    seen: list[str] = []

    class Names(Cost):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            result = super().__torch_dispatch__(func, types, args, kwargs)
            name = func.overloadpacket.__name__
            seen.append(f"{name} {result.stride(-2)}" if name == "expand" else name)
            return result

    with FakeTensorMode(), as_on_cuda(Target("cuda", GIB, capability)), Names():
        part = torch.empty(3, 2, length, width, dtype=dtype, requires_grad=True)
        mask = torch.empty(3, 1, length, length, dtype=torch.bool) if bias is None else bias()
        torch.nn.functional.scaled_dot_product_attention(part, part, part, mask, 0.1)
    return seen


@pytest.mark.parametrize(
    ("capability", "width", "dtype", "efficient"),
    [
        ((9, 0), 32, torch.float32, True),
        ((9, 0), 25, torch.float32, False),
        ((8, 0), 32, torch.bfloat16, True),
        ((8, 0), 12, torch.bfloat16, False),
        ((8, 0), 12, torch.float32, True),
        ((7, 5), 25, torch.float32, True),
        ((7, 5), 32, torch.bfloat16, False),
    ],
)
def test_attention_is_the_kernel_that_pytorch_chooses(
    capability: tuple[int, int], width: int, dtype: torch.dtype, efficient: bool
) -> None:
    seen = attended(capability, 48, width, dtype)
    assert ("_scaled_dot_product_efficient_attention" in seen) is efficient
    assert ("_safe_softmax" in seen) is not efficient


def test_seeds_of_dropout_in_attention_are_on_the_host() -> None:
    """Measured on an H100: a prediction that counts them is 16 bytes too high for each block."""
    account = Account("meta", predicted_on_cuda)
    with FakeTensorMode(), account, as_on_cuda(Target("cuda", GIB, (9, 0))):
        part = torch.empty(3, 2, 48, 32, requires_grad=True)
        mixed = torch.nn.functional.scaled_dot_product_attention(part, part, part, dropout_p=0.1)
        mixed.sum().backward()
    sizes = {event.num_bytes for event in account.events()}
    # The numbers of `part` in float32, and their sum.
    assert {4 * 3 * 2 * 48 * 32, 4} <= sizes
    assert 8 not in sizes


def test_a_bias_whose_rows_are_not_in_one_piece_takes_the_plain_kernel() -> None:
    """As that of a learned bias per head and distance, in 3 of 3 runs on an H100."""

    def in_one_piece() -> torch.Tensor:
        return torch.empty(3, 2, 48, 48)

    def heads_last() -> torch.Tensor:
        return torch.empty(3, 48, 48, 2).permute(0, 3, 1, 2)

    names = "_scaled_dot_product_efficient_attention", "_safe_softmax"
    for bias, wanted in ((in_one_piece, (True, False)), (heads_last, (False, True))):
        seen = attended((9, 0), 48, 32, torch.float32, bias=bias)
        assert tuple(name in seen for name in names) == wanted


@pytest.mark.parametrize(("length", "stride"), [(48, 48), (50, 56), (52, 56), (57, 64)])
def test_rows_of_a_bias_are_padded_to_eight_numbers(length: int, stride: int) -> None:
    for dtype in (torch.float32, torch.bfloat16):
        seen = attended((9, 0), length, 32, dtype)
        assert f"expand {stride}" in seen
        assert seen.count("where") == 1
        assert ("constant_pad_nd" in seen) is (stride != length)


def test_workspaces_of_cublas_follow_torch_and_capability() -> None:
    hopper, other = 32 * MIB, 8_519_680
    known = {
        ("2.11.0+cu130", (9, 0)): hopper, ("2.11.0", (10, 0)): other, ("2.11.0", (12, 0)): other,
        ("2.13.0", (9, 0)): hopper, ("2.13.0", (10, 0)): hopper, ("2.14.1", (12, 0)): hopper,
        ("2.13.0", (8, 9)): other, ("2.14.1", (8, 0)): other,
    }  # fmt: skip
    for (version, capability), expected in known.items():
        assert cublas_workspace_bytes(capability, version) == expected
    assert (lt_workspace_bytes("2.11.0+cu130"), lt_workspace_bytes("2.13.0")) == (MIB, 0)


def test_each_thread_asks_for_its_workspace_when_it_first_multiplies(small: Small) -> None:
    spec, noted = small({}), Workspaces(32 * MIB, MIB)
    known = lengths(spec.data)
    steps = Steps(known.train, batch=spec.batch, seed=spec.train.seed)
    fake_tensor_run = FakeTensorRun(spec, known.num_items, target=GPU, workspaces=noted)
    account = fake_tensor_run.train(steps.shape(0, steps.largest_step(0)), steps.num_steps)
    phases = [phase for _, _, phase, _ in account.events()]
    assert [num_bytes for _, num_bytes in noted.noted] == [32 * MIB, MIB, 32 * MIB]
    assert [phases[event] for event, _ in noted.noted] == ["forward", "forward", "backward"]
    assert noted.noted[-1][0] < account.window


def test_a_recurrent_network_on_cuda_says_that_it_cannot_be_predicted(small: Small) -> None:
    short = small({"model.name": "gru4rec", "batch.max_len": 5})
    with pytest.raises(PredictionUnsupported, match="recurrent"):
        predict(short, load_device("h100"))
    assert predict(short, load_device("cpu")).fits


@pytest.mark.slow
def test_a_budget_on_a_gpu_limits_what_is_reserved(small: Small) -> None:
    whole = predict(small({}), load_device("h100"))
    reserved = whole.memory["reserved"]["total"]
    assert whole.needed_bytes == reserved < whole.memory["device_used"]["total"]
    device = load_device("h100")
    assert whole.limit_bytes == device.memory_bytes - device.context_bytes
    assert predict(small({}), load_device("h100"), budget_bytes=reserved).fits
    assert predict(small({}), load_device("h100"), budget_bytes=reserved // 2).reason is not None


@pytest.mark.slow
@pytest.mark.parametrize("name", plugins.available("losses"))
def test_every_loss_has_a_row_on_a_gpu(name: str) -> None:
    changes = {"loss.name": name, "data.num_users": 400, "data.num_items": 2000}
    (row,) = api.plan("sasrec-synthetic", on="h100", set=changes)
    if row["fits"] is None:
        assert not row["memory"]
        assert "no prediction of" in row["reason"] or "needs" in row["reason"]
    else:
        assert row["memory"]["reserved"]["total"] > 0
        assert name not in ("cut_ce", "liger_ce")


def test_a_plan_is_for_the_device_that_the_run_names(
    small: Small, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Gpu(uuid="1", name="NVIDIA H100 80GB HBM3", memory_bytes=79 * GIB, capability=(9, 0))
    monkeypatch.setattr("scalelab.planning.devices.visible_gpus", lambda: (gpu,))
    assert device_for(small({"device.name": "cpu"})).kind == "cpu"
    assert device_for(small({"device.name": "cuda"})).memory_bytes == gpu.memory_bytes
    monkeypatch.setattr("scalelab.planning.devices.visible_gpus", lambda: ())
    assert device_for(small({"device.name": "auto"})).kind == "cpu"
    with pytest.raises(SpecError, match="no CUDA GPU") as caught:
        device_for(small({"device.name": "cuda"}))
    assert "--on" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "limit_s"),
    [
        ({"data.num_items": 100_000, "loss.name": "cross_entropy"}, 0.010),
        ({"data.num_items": 1_000_000, "loss.name": "cross_entropy"}, 0.040),
        (
            {
                "data.num_items": 1_000_000,
                "data.min_length": 200,
                "data.mean_length": 210,
                "data.max_length": 220,
                "batch.size": 256,
                "batch.max_len": 200,
                "loss.name": "sampled_softmax",
                "negatives.per": "batch",
                "negatives.num_negatives": 8192,
            },
            0.100,
        ),
    ],
    ids=["100k", "1M", "sampled"],
)
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_step_on_a_gpu_is_not_all_launches(
    changes: dict[str, Any], limit_s: float, precision: str
) -> None:
    """The estimate of a GPU's tiles and kernels, not of a CPU's."""
    base = {"batch.max_len": 50, "train.precision": precision}
    spec = RunSpec.load("sasrec-synthetic", base | changes)
    step = predict(spec, load_device("h100")).step_s
    assert step.high <= limit_s
    # What Triton's kernels cannot do, tiles of the GPU's size can, in more time.
    tiled = predict(spec.with_({"loss.kernel": "tiled"}), load_device("h100")).step_s
    assert step.high < tiled.high < 10 * limit_s


@pytest.mark.slow
def test_a_prediction_multiplies_as_its_run_does(small: Small) -> None:
    """Not as torch's flag says in the process that plans."""
    device = load_device("h100")
    fp32 = predict(small({"train.precision": "fp32"}), device)
    tf32 = predict(small({"train.precision": "tf32"}), device)
    # Float32 in the kernels is three bfloat16 parts of the hidden states; TF32 needs none.
    assert tf32.memory["requested"]["total"] < fp32.memory["requested"]["total"]
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        again = predict(small({"train.precision": "fp32"}), device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    assert again.memory == fp32.memory


def test_a_budget_leaves_room_for_the_context(small: Small) -> None:
    device = load_device("h100")
    whole = predict(small({}), device, budget_bytes=device.memory_bytes)
    assert whole.limit_bytes == device.memory_bytes - device.context_bytes


def test_a_kernel_that_cannot_run_is_a_row_of_the_plan() -> None:
    changes = {"loss.name": "sampled_softmax", "loss.kernel": "fused"}
    (row,) = api.plan("sasrec-synthetic", on="t4", set=changes | {"negatives.per": "batch"})
    assert row["fits"] is None
    assert "compute capability 8.0" in row["reason"]
