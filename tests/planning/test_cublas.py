"""When cuBLAS takes its workspaces: once for each thread and kind of handle, never twice."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC2701

from scalelab.core.units import MIB
from scalelab.planning.cublas import Workspaces


class _Noting(TorchDispatchMode):
    """Hands every operation to `workspaces`, numbered from 0."""

    def __init__(self, workspaces: Workspaces) -> None:
        super().__init__()
        self.workspaces = workspaces
        self.operations: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.workspaces.note(func, args, len(self.operations))
        backward = torch._C._current_autograd_node() is not None
        self.operations.append(f"{func.overloadpacket.__name__}{' backward' if backward else ''}")
        return func(*args, **(kwargs or {}))


def _noted(work: Callable[[], object], *, lt_bytes: int) -> list[tuple[str, int]]:
    workspaces = Workspaces(32 * MIB, lt_bytes)
    with _Noting(workspaces) as mode:
        work()
    return [(mode.operations[event], num_bytes) for event, num_bytes in workspaces.noted]


def test_the_threads_of_both_passes_have_a_workspace_each_and_keep_it() -> None:
    x, weight = torch.randn(4, 8), torch.randn(8, 8, requires_grad=True)

    def work() -> None:
        for _ in range(3):
            torch.tanh(x @ weight @ weight).sum().backward()

    assert _noted(work, lt_bytes=0) == [("mm", 32 * MIB), ("mm backward", 32 * MIB)]


def test_a_product_with_a_bias_has_one_of_its_own_before_torch_2_13() -> None:
    linear, x = nn.Linear(8, 8), torch.randn(4, 8)

    def work() -> None:
        for _ in range(2):
            linear(x).sum().backward()

    forward = [("addmm", 32 * MIB), ("addmm", MIB)]
    assert _noted(work, lt_bytes=MIB) == [*forward, ("mm backward", 32 * MIB)]
    assert _noted(work, lt_bytes=0) == [("addmm", 32 * MIB), ("mm backward", 32 * MIB)]


def test_what_multiplies_no_matrices_takes_none() -> None:
    x = torch.randn(4, 8, requires_grad=True)
    assert _noted(lambda: (x.exp() * x).sum().backward(), lt_bytes=MIB) == []
