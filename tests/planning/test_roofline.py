"""Seconds from counted work: for each operation the longer of computing and moving."""

from dataclasses import replace

import pytest

from scalelab.core.spec import RunSpec
from scalelab.planning.cost import Cost, Piece
from scalelab.planning.devices import DeviceProfile
from scalelab.planning.roofline import Seconds, block_seconds, run_seconds, step_seconds

# A hundred operations a second in fp32, ten bytes a second, a launch takes a thousandth.
DEVICE = DeviceProfile(
    name="slow",
    kind="cuda",
    memory_bytes=2**30,
    bytes_per_s=10.0,
    flops={"fp32": 100.0, "tf32": 400.0, "bf16": 800.0},
    launch_s=0.001,
    operation_s=0.0,
    efficiency=(0.5, 1.0),
)


def _cost(**changes: object) -> Cost:
    plain = {"flops": 0, "num_bytes": 0, "precision": "fp32", "kernels": 1, "times": 1}
    cost = Cost()
    cost.pieces.append(Piece(**(plain | changes)))  # pyright: ignore[reportArgumentType]
    return cost


@pytest.mark.parametrize(
    ("cost", "precision", "expected"),
    [
        (_cost(flops=500), "fp32", 5.001),  # computing alone
        (_cost(num_bytes=30), "fp32", 3.001),  # moving alone
        (_cost(flops=500, num_bytes=30), "fp32", 5.001),  # both at once: the longer, not the sum
        (_cost(flops=200, num_bytes=30), "fp32", 3.001),
        (_cost(kernels=7), "fp32", 0.007),
        (_cost(flops=500, kernels=2, times=3), "fp32", 3 * 5.002),
        (_cost(flops=400), "tf32", 1.001),
        (_cost(flops=400), "bf16", 4.001),  # known as fp32: what is not cast is computed so
        (_cost(flops=800, precision="bf16"), "bf16", 1.001),
        (_cost(flops=800, precision="bf16x6"), "fp32", 6.001),  # six products of bfloat16
    ],
)
def test_an_operation_takes_its_launches_and_the_longer_of_two(
    cost: Cost, precision: str, expected: float
) -> None:
    seconds = step_seconds(cost, DEVICE, precision)
    assert seconds.low == pytest.approx(expected)
    # Half of the peak speeds at worst.
    assert seconds.high == pytest.approx(2 * expected)


def test_operations_follow_one_another() -> None:
    cost = _cost(flops=500)
    cost.pieces += _cost(num_bytes=30).pieces
    assert step_seconds(cost, DEVICE, "fp32").low == pytest.approx(5.001 + 3.001)


def test_a_gpu_waits_for_a_host_that_is_slower() -> None:
    host = replace(DEVICE, operation_s=2.0)
    assert step_seconds(_cost(flops=500), host, "fp32").low == pytest.approx(5.001)
    assert step_seconds(_cost(flops=500, kernels=4), host, "fp32").low == pytest.approx(4 * 2.0)
    assert block_seconds(_cost(kernels=4, times=3), host).high == pytest.approx(2 * 12 * 2.0)


def test_evaluation_is_fp32_whatever_the_training() -> None:
    assert block_seconds(_cost(flops=400), DEVICE).low == pytest.approx(4.001)


def _spec(**train: int) -> RunSpec:
    return RunSpec.load("sasrec-synthetic", {f"train.{key}": value for key, value in train.items()})


@pytest.mark.parametrize(
    ("train", "epochs"),
    [
        ({"epochs": 10, "patience": 0, "eval_every": 1}, (10, 10)),
        ({"epochs": 10, "patience": 3, "eval_every": 1}, (4, 10)),
        ({"epochs": 10, "patience": 3, "eval_every": 2}, (8, 10)),
        ({"epochs": 2, "patience": 3, "eval_every": 1}, (2, 2)),
    ],
)
def test_a_run_ends_between_its_patience_and_its_last_epoch(
    train: dict[str, int], epochs: tuple[int, int]
) -> None:
    seconds = run_seconds(
        _spec(**train),
        Seconds(low=1, high=2),
        num_steps=5,
        block=Seconds(low=0, high=0),
        num_blocks=1,
    )
    assert (seconds.low, seconds.high) == (5 * epochs[0], 10 * epochs[1])


def test_evaluations_and_the_test_are_counted() -> None:
    seconds = run_seconds(
        _spec(epochs=4, patience=0, eval_every=2),
        Seconds(low=0, high=0),
        num_steps=5,
        block=Seconds(low=1, high=1),
        num_blocks=7,
    )
    assert seconds.low == 2 * 7
    seconds = run_seconds(
        _spec(epochs=4, patience=0, eval_every=2),
        Seconds(low=0, high=0),
        num_steps=5,
        block=Seconds(low=1, high=2),
        num_blocks=7,
        blocks_once=10,
    )
    assert (seconds.low, seconds.high) == (24, 48)


def test_a_run_of_few_steps_ends_with_them() -> None:
    seconds = run_seconds(
        _spec(epochs=10, patience=0, max_steps=8),
        Seconds(low=1, high=1),
        num_steps=5,
        block=Seconds(low=0, high=0),
        num_blocks=1,
    )
    assert seconds.low == seconds.high == 8
