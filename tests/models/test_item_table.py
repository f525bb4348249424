"""The gradient of the item table is added up in the same order at every run, on any device."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: PLC2701

from scalelab.core.target import Target, predicted_target
from scalelab.models.tables.full import Full


class Heard(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.names.add(func.name())
        return func(*args, **(kwargs or {}))


def backward(table: Full) -> set[str]:
    ids = torch.tensor([[3, 1, 3], [2, 3, 0]], dtype=torch.int32)
    scored = table.weight.sum() + table(ids).pow(2).sum()
    with Heard() as heard:
        scored.backward()
    return heard.names


@pytest.mark.parametrize(
    ("kind", "added_by"), [("cpu", "aten::index_add_"), ("cuda", "aten::index_put_")]
)
def test_cuda_adds_rows_without_atomics(kind: str, added_by: str) -> None:
    table = Full(num_items=4, hidden_dim=2, dtype=torch.float32)
    table.reset(1.0, torch.Generator().manual_seed(0))
    token = predicted_target.set(Target(kind))
    try:
        heard = backward(table)
    finally:
        predicted_target.reset(token)
    assert heard & {"aten::index_add_", "aten::index_put_"} == {added_by}
    assert table.weight.grad is not None
    counts = torch.tensor([1, 1, 1, 3, 0])
    torch.testing.assert_close(table.weight.grad, 1 + 2 * counts[:, None] * table.weight.detach())
