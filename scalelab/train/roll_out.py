"""Rank for the hidden items of test histories step by step, and feed back what the model says."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from scalelab.core.errors import DataError
from scalelab.core.events import Phase
from scalelab.train.precision import products_in
from scalelab.train.trainer import Trainer

__all__ = ["nothing_to_feed_back", "roll_out"]


def roll_out(trainer: Trainer) -> Iterator[tuple[str, dict[str, float]]]:
    """The metrics of each step of `trainer.ahead`, in order.

    With `evaluate.fed_back` the item that the model ranks first takes the place of the true one in
    the histories of later steps: it is then seen, and with `data.exclude_seen` in no later list.
    Raises DataError where no item is left to be first.
    """
    if not trainer.ahead:
        return
    # Of the hidden places alone something changes, so that histories stay slices of one array.
    items = np.array(trainer.data.interactions.item_ids)
    for step, held_out in trainer.ahead.items():
        firsts: list[np.ndarray] = []
        seen = replace(held_out, histories=replace(held_out.histories, item_ids=items))
        with trainer.announce(Phase.EVALUATE), products_in("fp32"):
            metrics, _ = trainer.evaluator.ranked(trainer.parts.model, seen, firsts=firsts)
        yield step, metrics
        if trainer.spec.evaluate.fed_back:
            items[held_out.histories.ends] = _checked(np.concatenate(firsts))


def _checked(items: np.ndarray) -> np.ndarray:
    if not items.all():
        raise nothing_to_feed_back()
    return items


def nothing_to_feed_back() -> DataError:
    """The error of a step that has no item left to rank first."""
    return DataError(
        "a step ahead has no item left to feed back: a user has seen all of them",
        "set data.exclude_seen = false, or lower evaluate.steps_ahead",
    )
