"""Refuse what a streamed update of the item table cannot do, before anything is built."""

from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.run_sections import TrainSpec

__all__ = ["check_table_update", "is_streamed", "table_optimizer"]

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
