"""Train a model on objectives of its own before its training: which steps, and each of them."""

import logging
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from scalelab.batches.pretraining import PretrainingBatch, PretrainingLoader, pretraining_steps
from scalelab.batches.steps import Steps
from scalelab.core import plugins
from scalelab.core.errors import SpecError
from scalelab.core.events import Phase
from scalelab.core.item_attributes import attributes_file
from scalelab.core.spec import BatchSpec, RunSpec
from scalelab.core.table_update import is_streamed
from scalelab.datasets.interactions import Interactions
from scalelab.models import PretrainingInput, is_pretrained
from scalelab.models.one_order import deterministic_as_before
from scalelab.train.data import Data
from scalelab.train.divergence import LOOK_EVERY, must_be_finite
from scalelab.train.fit import Fit
from scalelab.train.item_attributes import load_attributes
from scalelab.train.step import Announce, Parts, update_weights

if TYPE_CHECKING:
    from scalelab.train.trainer import Trainer

__all__ = [
    "Pretraining",
    "attributes_of",
    "check_pretraining",
    "input_of",
    "pretrain_epoch",
    "pretrain_epochs",
    "pretraining_length",
    "pretraining_of",
    "pretraining_step",
    "pretraining_steps_of",
]

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """The steps of a pre-training, in at most `epochs` and, above 0, `max_steps`."""

    loader: PretrainingLoader
    epochs: int
    max_steps: int

    @property
    def num_epochs(self) -> int:
        """Epochs that begin."""
        steps = self.loader.num_steps
        return -(-pretraining_length(self.epochs, steps, self.max_steps) // steps)

    def num_steps(self, epoch: int) -> int:
        """Steps of one epoch, from 0."""
        steps = self.loader.num_steps
        left = pretraining_length(self.epochs, steps, self.max_steps) - epoch * steps
        return min(steps, left)


def pretrain_epochs(spec: RunSpec) -> int:
    """Epochs of pre-training; 0 for a model that has none."""
    if not is_pretrained(plugins.load("models", spec.model.name)):
        return 0
    return int(spec.model.options["pretrain_epochs"])


def pretraining_steps_of(spec: RunSpec, lengths: np.ndarray) -> Steps | None:
    """The shapes of all steps of pre-training, None for a run without one. SpecError."""
    if not pretrain_epochs(spec):
        return None
    check_pretraining(spec)
    return pretraining_steps(lengths, _batch(spec), spec.train.seed, _takes_prefixes(spec))


def pretraining_length(epochs: int, steps: int, max_steps: int) -> int:
    """Steps of a whole pre-training, with so many in an epoch; `max_steps` 0: no limit."""
    return min(epochs * steps, max_steps or epochs * steps)


def check_pretraining(spec: RunSpec) -> None:
    """Raises SpecError for what pre-training cannot do."""
    if not pretrain_epochs(spec):
        return
    if getattr(plugins.load("packers", spec.batch.packer), "every_prefix", False):
        raise SpecError(
            f"pre-training hides items of whole histories, and the packer {spec.batch.packer!r} "
            "makes a sample of every prefix",
            'write batch.packer = "best_fit", or model.pretrain_epochs = 0',
        )
    if is_streamed(spec.train):
        raise SpecError(
            "pre-training holds the gradient of the whole item table, and "
            'train.table.update = "streamed" makes it row by row',
            'write train.table.update = "dense", or model.pretrain_epochs = 0',
        )


def pretraining_of(spec: RunSpec, data: Data) -> Pretraining | None:
    """That of the run, None where it has none."""
    epochs = pretrain_epochs(spec)
    if not epochs:
        return None
    loader = PretrainingLoader(
        data.split.train,
        num_items=data.interactions.num_items,
        batch=_batch(spec),
        seed=spec.train.seed,
        mask_prob=float(spec.model.options["mask_prob"]),
        every_prefix=_takes_prefixes(spec),
    )
    return Pretraining(loader=loader, epochs=epochs, max_steps=spec.train.max_steps)


def _batch(spec: RunSpec) -> BatchSpec:
    size = int(spec.model.options.get("pretrain_batch_size", 0)) or spec.batch.size
    return spec.batch.model_copy(update={"size": size})


def _takes_prefixes(spec: RunSpec) -> bool:
    return spec.model.options.get("pretrain_samples") == "prefixes"


def attributes_of(spec: RunSpec, interactions: Interactions) -> np.ndarray | None:
    """The attributes of the run's items, None where the run has none. DataError, SpecError."""
    file = attributes_file(spec.data, spec.model)
    if file is None:
        return None
    found = load_attributes(file).of(interactions)
    if found.num_unknown or found.num_without:
        _LOG.warning(
            "%s: %d of its items are not in the data set, %d of the data set have no attributes",
            file,
            found.num_unknown,
            found.num_without,
        )
    return found.own_lists


def pretraining_step(
    parts: Parts, batch: PretrainingBatch, announce: Announce
) -> dict[str, Tensor]:
    """One step on a batch that is on the device; the detached objectives by name, not weighted."""
    model: Any = parts.model
    inputs = input_of(batch)
    with parts.autocast():
        with announce(Phase.FORWARD):
            states = model.pretraining_states(inputs)
        with announce(Phase.LOSS):
            found: dict[str, Tensor] = model.objectives(states, inputs)
            total = torch.stack(
                [model.objective_weights[name] * value for name, value in found.items()]
            ).sum()
    del states
    with announce(Phase.BACKWARD), deterministic_as_before():
        total.backward()
    with announce(Phase.OPTIMIZER):
        update_weights(parts)
    return {name: value.detach() for name, value in found.items()}


def pretrain_epoch(trainer: "Trainer", fit: Fit) -> None:
    """One more epoch; after the last one the optimizers are as they were at first."""
    pretraining, epoch = trainer.pretraining, len(fit.pretraining)
    assert pretraining is not None
    end = pretraining.num_steps(epoch)
    totals: dict[str, Tensor] = {}
    sequences = 0
    with (
        trainer.announce(Phase.PRETRAIN),
        trainer.randomness(-1 - epoch),
        trainer.batches(pretraining.loader, epoch) as batches,
    ):
        for number, batch in enumerate(islice(batches, end)):
            count = batch.users_S.numel()
            assert isinstance(batch, PretrainingBatch), "its loader makes no others"
            for name, value in trainer.pretraining_step(batch, epoch + 1, number).items():
                totals[name] = totals.get(name, 0.0) + value.double() * count
            sequences += count
            if number == end - 1 or number % LOOK_EVERY == 0:
                where = f"epoch {epoch + 1} of pre-training, step {number}"
                must_be_finite(torch.stack(list(totals.values())), where)
    means = {name: float(total) / sequences for name, total in totals.items()}
    fit.pretraining.append((epoch + 1, means))
    if epoch + 1 == pretraining.num_epochs:
        trainer.forget_updates()
    for observer in trainer.observers:
        observer.on_pretraining_epoch_end(epoch + 1, means)


def input_of(batch: PretrainingBatch) -> PretrainingInput:
    """The part of a batch that the model sees."""
    return PretrainingInput(
        masked_BL=batch.item_ids_BL,
        context_BL=batch.context_BL,
        segment_BL=batch.segment_BL,
        other_BL=batch.other_BL,
        segments_BL=batch.segments_BL,
        positions_BL=batch.positions_BL,
        num_sequences=batch.users_S.numel(),
        places_N=batch.valid_N,
        items_N=batch.targets_N,
        negatives_N=batch.negatives[0].ids[:, 0],
        is_masked_N=batch.masked_N,
        last_S=batch.last_S,
    )
