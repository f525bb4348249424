"""Find the steps and the blocks of evaluation of a run that may need most memory."""

from collections.abc import Sequence
from typing import Any

from scalelab.batches.steps import StepChoice, Steps
from scalelab.core.spec import NegativesSpec
from scalelab.losses import loss_bytes, target_of
from scalelab.train.evaluate import BlockChoice
from scalelab.train.trainer import Trainer

__all__ = ["largest_blocks", "largest_steps", "pretraining_choices", "shared_negatives"]


def largest_steps(trainer: Trainer) -> tuple[StepChoice, ...]:
    """The steps of a run that may need most memory, those of a pre-training first."""
    train, parts, pretraining = trainer.spec.train, trainer.parts, trainer.pretraining
    found: tuple[StepChoice, ...] = ()
    if pretraining is not None:
        found = pretraining_choices(pretraining.loader, pretraining.epochs, train.max_steps)
    table: Any = parts.model.item_table_VD
    # The type of the products, which autocast decides, decides tiles as well.
    with parts.autocast():
        estimated = loss_bytes(
            parts.loss,
            table,
            shared_negatives(trainer.spec.negatives),
        )
        return found + trainer.loader.largest_steps(train.epochs, train.max_steps, estimated)


def pretraining_choices(steps: Steps, epochs: int, max_steps: int) -> tuple[StepChoice, ...]:
    """The steps of a pre-training that may need most memory."""
    found = steps.largest_steps(epochs, max_steps)
    return tuple(choice._replace(is_pretraining=True) for choice in found)


def shared_negatives(sources: Sequence[NegativesSpec]) -> int | None:
    """How many negatives the whole batch shares; None where any source draws for less than it."""
    if any(source.per != "batch" for source in sources):
        return None
    return sum(source.num_negatives for source in sources)


def largest_blocks(trainer: Trainer) -> tuple[BlockChoice, ...]:
    """The blocks of all that is ranked for that may need most memory."""
    table: Any = trainer.parts.model.item_table_VD
    split = trainer.data.split
    lengths = {
        name: part.histories.lengths[part.evaluated(trainer.spec.data.max_eval_users)]
        for name, part in (("valid", split.valid), ("test", split.test))
    }
    further = trainer.earlier | trainer.ahead
    lengths |= {name: part.histories.lengths for name, part in further.items()}
    return trainer.evaluator.largest_blocks(
        lengths,
        block_users=trainer.evaluator.block_users(table.size(1), target_of(table)),
    )
