"""Launching: Triton is asked once for each kind of arguments, always where one is not aligned."""

from typing import Any

import pytest
import torch

from scalelab.losses.kernels import launch as module
from scalelab.losses.kernels.launch import launch


class Compiled:
    def __init__(self, calls: list[tuple[str, Any, tuple[Any, ...]]]) -> None:
        self.calls = calls

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        return lambda *args: self.calls.append(("compiled", grid, args))


class Kernel:
    """What Triton makes of a function with three parameters and two constants."""

    arg_names = ("rows", "bias", "count", "WIDTH", "HAS_BIAS")

    def __init__(self) -> None:
        self.calls: list[tuple[str, Any, tuple[Any, ...]]] = []

    def __getitem__(self, grid: tuple[int, ...]) -> Any:
        def first(*args: Any, **options: Any) -> Compiled:
            self.calls.append(("triton", grid, (*args, options)))
            return Compiled(self.calls)

        return first


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    monkeypatch.setattr(module, "_compiled", {})
    return Kernel()


def kinds(kernel: Kernel) -> list[str]:
    return [kind for kind, _, _ in kernel.calls]


OPTIONS = {"WIDTH": 64, "HAS_BIAS": False, "num_warps": 4}


def test_a_second_launch_skips_triton_and_hands_over_the_constants(kernel: Kernel) -> None:
    rows = torch.zeros(64)
    launch(kernel, (3,), rows, None, 7, **OPTIONS)
    launch(kernel, (5,), rows, None, 8, **OPTIONS)
    assert kinds(kernel) == ["triton", "compiled"]
    _, grid, args = kernel.calls[1]
    assert grid == (5, 1, 1)
    assert args[0] is rows
    assert args[1:] == (None, 8, 64, False)


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((torch.zeros(64, dtype=torch.bfloat16), None, 7), OPTIONS),
        ((torch.zeros(64), torch.zeros(4), 7), OPTIONS | {"HAS_BIAS": True}),
        ((torch.zeros(64), None, 7), OPTIONS | {"num_warps": 8}),
    ],
)
def test_other_types_constants_and_options_are_other_code(
    kernel: Kernel, args: tuple[Any, ...], options: dict[str, Any]
) -> None:
    launch(kernel, (3,), torch.zeros(64), None, 7, **OPTIONS)
    launch(kernel, (3,), *args, **options)
    assert kinds(kernel) == ["triton", "triton"]


def test_a_tensor_that_is_not_aligned_is_triton_s_every_time(kernel: Kernel) -> None:
    shifted = torch.zeros(65)[1:]
    for _ in range(2):
        launch(kernel, (3,), shifted, None, 7, **OPTIONS)
    assert kinds(kernel) == ["triton", "triton"]
