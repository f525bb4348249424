"""A streamed update of the item table gives the numbers of the dense one, and holds no gradient."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from scalelab.core import plugins
from scalelab.core.spec import RunSpec
from scalelab.train.assemble import assemble
from scalelab.train.trainer import Trainer

Small = Callable[..., RunSpec]
STREAMED = [
    name
    for name in plugins.available("losses")
    if name not in ("cut_ce", "liger_ce") and hasattr(plugins.load("losses", name), "streamed")
]
UNTIED = """
import torch
from torch import nn
from scalelab.models.sasrec import SASRec

class Untied(SASRec):
    def __init__(self, *, num_items, max_len, generator, hidden_dim: int = 16) -> None:
        super().__init__(num_items=num_items, max_len=max_len, generator=None,
                         hidden_dim=hidden_dim, num_blocks=1, dropout=0.0)
        self.scored = nn.Parameter(torch.empty(num_items + 1, hidden_dim))
        self.looked_up = nn.Embedding(num_items + 1, hidden_dim, padding_idx=0)
        del self.items
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator) -> None:
        if not hasattr(self, "scored"):
            return super().reset_parameters(generator)
        for table in (self.scored, self.looked_up.weight):
            table.normal_(0.0, 0.02, generator=generator)
            table[0].zero_()
        self.positions.normal_(0.0, 0.02, generator=generator)
        for block in self.blocks:
            for layer in block.modules():
                if isinstance(layer, nn.Linear):
                    layer.weight.normal_(0.0, 0.02, generator=generator)
                    layer.bias.zero_()

    @property
    def item_table_VD(self):
        return self.scored

    def forward(self, inputs):
        return self.encode(self.looked_up(inputs.item_ids_BL), inputs.positions_BL,
                           inputs.segments_BL)
"""


def trained(spec: RunSpec, steps: int, dtype: torch.dtype) -> Trainer:
    trainer = assemble(spec)
    trainer.parts.model.to(dtype)
    number, accumulate = 0, spec.train.accumulate
    for epoch in range(steps):
        for step in range(trainer.loader.num_steps):
            with trainer.randomness(number):
                trainer.step(
                    trainer.loader.batch(epoch, step), 1, 1, (number + 1) % accumulate == 0
                )
            number += 1
            if number == steps:
                return trainer
    raise AssertionError("no steps")


def distances(left: Trainer, right: Trainer) -> dict[str, float]:
    """The norm of the difference of each tensor over its norm."""
    others = right.parts.model.state_dict()
    return {
        name: float((value - others[name]).norm() / others[name].norm().clamp(min=1e-30))
        for name, value in left.parts.model.state_dict().items()
    }


@pytest.mark.parametrize("model", ["sasrec", "untied"])
@pytest.mark.parametrize("loss", STREAMED)
@pytest.mark.parametrize(
    ("dtype", "most"), [(torch.float32, 1e-6), (torch.float64, 1e-12)], ids=["float32", "float64"]
)
def test_streamed_adamw_is_dense_adamw(
    small: Small, tmp_path: Path, loss: str, dtype: torch.dtype, most: float, model: str
) -> None:
    changes: dict[str, Any] = {
        "loss.name": loss,
        "model.dropout": 0.0,
        "train.optimizer": "adamw",
        "train.learning_rate": 1e-3,
        "train.weight_decay": 0.1,
    }
    if model == "untied":
        (tmp_path / "untied.py").write_text(UNTIED)
        changes |= {"model": {"name": f"{tmp_path / 'untied.py'}:Untied"}}
        del changes["model.dropout"]
    # Without the section: torch's own AdamW for all weights.
    dense = trained(small(changes), 50, dtype)
    streamed = trained(small(changes | {"train.table.update": "streamed"}), 50, dtype)
    assert dense.parts.table is None
    found = distances(streamed, dense)
    assert max(found.values()) <= most, found
    item_table: Any = dense.parts.model.item_table_VD
    assert item_table[0].count_nonzero() == 0
