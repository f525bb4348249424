"""Load a model that `profile --save-model` kept: its settings, its weights, its items' own ids."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from torch import nn

from scalelab.core import plugins
from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import RunSpec
from scalelab.datasets.compact import kept_item_ids, kept_user_ids
from scalelab.models import is_pretrained
from scalelab.train.assemble import build_parts, evaluator_of
from scalelab.train.checkpoint import load_weights, weights_metadata
from scalelab.train.evaluate import Evaluator

__all__ = ["KeptModel", "load_model"]

_AGAIN = "keep the model again: scalelab profile RUN --save-model FOLDER"


@dataclass(frozen=True, kw_only=True)
class KeptModel:
    """A model on a device, ready to rank. `item_ids` are the own ids of items 1, 2, ...

    `user_ids` are those of rows 1, 2, ... of its table of users; None where it has no such table,
    or its data had no ids of users.
    """

    spec: RunSpec
    model: nn.Module
    evaluator: Evaluator
    item_ids: np.ndarray
    user_ids: np.ndarray | None

    @property
    def num_items(self) -> int:
        """The size of the catalog."""
        return len(self.item_ids)


def load_model(folder: Path, device: str) -> KeptModel:
    """The model that lies in `folder`, on `device`. Raises DataError, SpecError."""
    spec_file, weights = folder / "spec.json", folder / "weights.safetensors"
    if not weights.is_file() or not spec_file.is_file():
        raise DataError(f"{folder} holds no model: it needs spec.json and {weights.name}", _AGAIN)
    try:
        sections = json.loads(spec_file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {spec_file}: {error}", _AGAIN) from error
    if not _is_spec(sections):
        raise DataError(f"{spec_file} does not hold the settings of a run", _AGAIN)
    sections["device"]["name"] = device
    sections["train"]["compile"] = False
    if is_pretrained(plugins.load("models", sections["model"]["name"])):
        # It is over, and its file need not be here.
        sections["model"] |= {"attributes": "", "pretrain_epochs": 0}
    spec = RunSpec.build(sections, where=str(spec_file))
    numbers = _metadata(weights)
    item_ids = kept_item_ids(folder)
    if item_ids is None:
        if numbers.get("own_ids") == "yes":
            message = f"{folder} has lost item_ids.parquet, which says what its items are called"
            raise DataError(message, _AGAIN)
        item_ids = np.arange(1, _num_items(numbers, weights) + 1)
    num_users = int(numbers.get("num_users", 0))
    parts = build_parts(spec, len(item_ids), num_users=num_users)
    try:
        load_weights(parts.model, weights)
    except (RuntimeError, KeyError, SafetensorError) as error:
        raise SpecError(f"{weights} does not fit {spec_file}: {error}", _AGAIN) from error
    parts.model.eval()
    return KeptModel(
        spec=spec,
        model=parts.model,
        evaluator=evaluator_of(spec, len(item_ids)),
        item_ids=item_ids,
        user_ids=kept_user_ids(folder),
    )


def _is_spec(sections: Any) -> bool:
    named = ("device", "train", "model")
    return isinstance(sections, dict) and all(
        isinstance(sections.get(name), dict)  # pyright: ignore[reportUnknownMemberType]
        for name in named
    )


def _metadata(weights: Path) -> dict[str, str]:
    try:
        return weights_metadata(weights)
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read {weights}: {error}", _AGAIN) from error


def _num_items(numbers: dict[str, str], weights: Path) -> int:
    """Of a data set that has no ids of its own, such as a synthetic one."""
    number = numbers.get("num_items")
    if number is None:
        raise DataError(f"{weights} does not say how many items it has", _AGAIN)
    return int(number)
