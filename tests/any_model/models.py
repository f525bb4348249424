"""Models as other people write them, each with inputs and a step that returns the loss."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

Case = tuple[nn.Module, tuple[Tensor, Tensor]]


def step(model: nn.Module, inputs: tuple[Tensor, Tensor]) -> Tensor:
    given, targets = inputs
    found = model(given)
    scores = found["logits"] if isinstance(found, dict) else found
    return F.cross_entropy(scores.reshape(-1, scores.size(-1)), targets.reshape(-1))


def mlp() -> Case:
    model = nn.Sequential(
        nn.Linear(256, 512), nn.ReLU(), nn.Dropout(0.1), nn.Linear(512, 512), nn.Linear(512, 100)
    )
    return model, (torch.randn(400, 256), torch.randint(0, 100, (400,)))


class Transformer(nn.Module):
    """Dropout, checkpoints, and a table that is input and output (tied weights)."""

    def __init__(self, use_reentrant: bool) -> None:
        super().__init__()
        self.table = nn.Embedding(1000, 64)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True) for _ in range(2)
        )
        self.out = nn.Linear(64, 1000, bias=False)
        self.out.weight = self.table.weight
        self.use_reentrant = use_reentrant

    def forward(self, ids: Tensor) -> Tensor:
        hidden = self.table(ids)
        for block in self.blocks:
            hidden = checkpoint(block, hidden, use_reentrant=self.use_reentrant)
        return self.out(hidden)


def transformer(use_reentrant: bool = False) -> Case:
    ids = torch.randint(0, 1000, (20, 50))
    return Transformer(use_reentrant), (ids, ids.roll(-1, 1))


class Recurrent(nn.Module):
    """A model whose forward pass returns a dictionary."""

    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.layers = kind(32, 64, batch_first=True, num_layers=2)
        self.out = nn.Linear(64, 50)

    def forward(self, given: Tensor) -> dict[str, Tensor]:
        return {"logits": self.out(self.layers(given)[0])}


def recurrent(kind: type[nn.Module]) -> Case:
    return Recurrent(kind), (torch.randn(32, 20, 32), torch.randint(0, 50, (32, 20)))


def convolution() -> Case:
    model = nn.Sequential(
        nn.Conv2d(3, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3, stride=2),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    return model, (torch.randn(8, 3, 64, 64), torch.randint(0, 10, (8,)))


MODELS: dict[str, Callable[[], Case]] = {
    "mlp": mlp,
    "transformer": transformer,
    "transformer_reentrant": lambda: transformer(True),
    "gru": lambda: recurrent(nn.GRU),
    "lstm": lambda: recurrent(nn.LSTM),
    "convolution": convolution,
}
OPTIMIZERS: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, 0.1, momentum=0.9),
    "adam": lambda parameters: torch.optim.Adam(parameters),
    "adamw_fused": lambda parameters: torch.optim.AdamW(parameters, fused=True),
    "adamw_foreach": lambda parameters: torch.optim.AdamW(parameters, foreach=True),
}
# An attention and a recurrence, and every optimizer; the others where there is time.
_FAST = ("mlp", "transformer", "lstm")
VARIANTS = [
    *((name, "adam") for name in _FAST),
    *(pytest.param(name, "adam", marks=pytest.mark.slow) for name in MODELS if name not in _FAST),
    *(("mlp", name) for name in OPTIMIZERS),
    pytest.param("transformer", "adamw_fused", marks=pytest.mark.slow),
]


def existing_bytes(model: nn.Module, inputs: Any, optimizer: torch.optim.Optimizer | None) -> int:
    """Bytes that are there between two steps: each storage once."""
    state = [] if optimizer is None else optimizer.state.values()
    tensors = [*model.parameters(), *model.buffers(), *inputs]
    tensors += [value for each in state for value in each.values() if isinstance(value, Tensor)]
    storages = {tensor.untyped_storage()._cdata: tensor.untyped_storage() for tensor in tensors}
    return sum(storage.nbytes() for storage in storages.values())
