"""Refuse what a streamed update of the item table cannot do, before anything is built."""

from typing import Any

from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.run_sections import ItemTableSpec, ModelSpec
from scalelab.core.train_section import TrainSpec

__all__ = ["check_item_table", "check_table_update", "is_streamed", "table_optimizer"]

_DENSE = 'write train.table.update = "dense"'


def is_streamed(train: TrainSpec) -> bool:
    """Whether the gradient of the item table is never held as a whole."""
    return train.table.update == "streamed"


def table_optimizer(train: TrainSpec) -> str:
    """The name of the item table's optimizer."""
    return train.table.optimizer or train.optimizer


def check_table_update(train: TrainSpec, loss: str, loss_class: type[Any]) -> None:
    """Raises SpecError with the reason where [train.table] wants what cannot be done."""
    if not is_streamed(train):
        if table_optimizer(train) == "lazy_adam":
            raise SpecError(
                "lazy_adam updates the rows that a step touches, and a dense gradient does not "
                "say which these are",
                'write train.table.update = "streamed", or train.table.optimizer = "adam"',
            )
        return
    if train.ema_decay:
        raise SpecError(
            "train.ema_decay averages the whole item table after every update, and a streamed "
            "update has only some of its rows at hand",
            f"{_DENSE}, or train.ema_decay = 0",
        )
    if not callable(getattr(loss_class, "streamed", None)):
        raise SpecError(
            f"the loss {loss!r} makes the gradient of the whole item table at once, so that the "
            "table's update cannot be streamed",
            f"{_DENSE}, or take a loss such as cross_entropy or sampled_softmax",
        )


def check_item_table(model: ModelSpec, table: ItemTableSpec, train: TrainSpec) -> None:
    """Raises SpecError with the reason where the item table cannot be trained as it is kept."""
    streamed = 'write train.table.update = "streamed"'
    if model.table_dtype != "fp32" and not is_streamed(train):
        raise SpecError(
            "a dense gradient has the type of the item table, and gradients that are added up in "
            "bf16 lose most of what is added",
            f'{streamed}, or model.table_dtype = "fp32"',
        )
    if not getattr(plugins.load("tables", table.name), "makes_rows", False):
        return
    if not is_streamed(train):
        raise SpecError(
            f"the item table {table.name!r} makes rows when a loss needs them, and a dense update "
            "needs the gradient of all rows at once",
            f'{streamed}, or table.name = "full"',
        )
    if table_optimizer(train) == "lazy_adam":
        raise SpecError(
            f"lazy_adam updates the rows that a step touches, and what {table.name!r} keeps is "
            "shared by all rows",
            'write train.table.optimizer = "adam"',
        )
