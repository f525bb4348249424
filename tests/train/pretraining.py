"""Help tests of pre-training: attributes, weights, and what ended in which order."""

import json
from pathlib import Path
from typing import Any

import torch

from scalelab.core.events import Observer
from scalelab.train.trainer import Trainer


def write_attributes(file: Path, num_items: int = 120, num_attributes: int = 30) -> Path:
    """Items have one to three attributes; the first is that of their tenth of the catalog."""
    lists = {
        str(item): [item % num_attributes + 1, item // 10 + 1][: 1 + item % 2]
        for item in range(1, num_items)
    }
    file.write_text(json.dumps(lists), encoding="utf-8")
    return file


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in trainer.parts.model.state_dict().items()}


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(left[key], right[key]) for key in left)


class Epochs(Observer):
    """Notes which epochs ended, and can fail after one of the pre-training."""

    def __init__(self, fail_after: int = 0) -> None:
        self.fail_after = fail_after
        self.ended: list[tuple[str, int]] = []

    def on_pretraining_epoch_end(self, epoch: int, objectives: Any) -> None:
        self.ended.append(("pretrain", epoch))
        if epoch == self.fail_after:
            raise RuntimeError("killed")

    def on_epoch_end(self, epoch: int, loss: float, metrics: Any) -> None:
        self.ended.append(("train", epoch))
