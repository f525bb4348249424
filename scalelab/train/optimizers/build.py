"""Make the optimizers of a run: one for all weights, or one for the encoder and one for the table.

Without a section [train.table] there is one optimizer of torch, fused: the for-loop and foreach
versions hold one or two more tables' worth of temporaries.
"""

from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from scalelab.core.errors import SpecError
from scalelab.core.table_update import is_streamed, table_optimizer
from scalelab.core.train_section import TableSpec, TrainSpec
from scalelab.models.tables import ComposedRows
from scalelab.train.averaging import keep_average
from scalelab.train.optimizers.composed import ComposedOptimizer
from scalelab.train.optimizers.table import TableOptimizer, TakeLookups

__all__ = ["build_optimizers"]


def build_optimizers(model: nn.Module, train: TrainSpec) -> tuple[Optimizer, TableOptimizer | None]:
    """The optimizer of torch, and that of the item table where it has its own."""
    parameters, table = list(model.parameters()), None
    if train.table != TableSpec():
        table = _table_optimizer(model, train)
        parameters = [each for each in parameters if each is not table.table_VD]
    settings = {"lr": train.learning_rate, "weight_decay": train.weight_decay, "fused": True}
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}
    optimizer = kinds[train.optimizer]([{"params": parameters}], **settings)
    if train.ema_decay:
        for each in (optimizer, table):
            if each is not None:
                keep_average(each, train.ema_decay)
    return optimizer, table


def _table_optimizer(model: nn.Module, train: TrainSpec) -> TableOptimizer:
    item_table: Any = model.item_table_VD
    settings: dict[str, Any] = {
        "rule": table_optimizer(train),
        "learning_rate": _first(train.table.learning_rate, train.learning_rate),
        "weight_decay": _first(train.table.weight_decay, train.weight_decay),
        "clip_value": train.table.clip_value,
        "streamed": is_streamed(train),
        "seed": train.seed,
    }
    if isinstance(item_table, ComposedRows):
        return ComposedOptimizer(item_table, **settings)
    if not any(parameter is item_table for parameter in model.parameters()):
        raise SpecError(
            "the item table of the model is not a parameter of its own, so that it cannot have "
            "an optimizer of its own",
            "leave [train.table] out",
        )
    take_lookups = _lookups_of(model) if is_streamed(train) else list
    return TableOptimizer(item_table, take_lookups=take_lookups, **settings)


def _lookups_of(model: nn.Module) -> TakeLookups:
    """How to get what lookups send to the item table: from the module that looks it up."""
    for module in model.modules():
        take: Any = getattr(module, "take_lookups", None)
        if take is not None and getattr(module, "weight", None) is model.item_table_VD:
            module.keep_lookups()  # pyright: ignore[reportCallIssue]
            return take
    return list


def _first(own: float | None, other: float) -> float:
    return other if own is None else own
