"""Take one training step on a batch and announce each of its phases."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.optim import Optimizer

from scalelab.batches.batch import Batch
from scalelab.core.events import Phase
from scalelab.losses import Loss, LossBatch, Negatives
from scalelab.models import EncoderInput
from scalelab.models.one_order import deterministic_as_before
from scalelab.models.users import user_table_of
from scalelab.train.optimizers.table import TableOptimizer

__all__ = ["Announce", "Parts", "encoder_input", "hidden_of", "training_step", "update_weights"]

Announce = Callable[[Phase], AbstractContextManager[None]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a training step works with."""

    model: nn.Module
    loss: Loss
    optimizer: Optimizer
    num_items: int
    log_popularity_V: Tensor | None
    generator: Generator | None
    bf16: bool
    accumulate: int
    # Where the item table has an optimizer of its own; `optimizer` then has all other weights.
    table: TableOptimizer | None = None
    clip_norm: float = 0.0
    # By source of negatives: the log of each item's probability, where the loss corrects for that
    # and the source does not draw by popularity.
    log_shares: tuple[Tensor | None, ...] = ()

    @property
    def optimizers(self) -> tuple[Optimizer, ...]:
        """Both of them, or the one there is."""
        return (self.optimizer,) if self.table is None else (self.optimizer, self.table)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def autocast(self) -> AbstractContextManager[object]:
        """bf16 for matrix products, or nothing; weights and gradients stay fp32."""
        if not self.bf16:
            return nullcontext()
        return torch.autocast(self.device.type, dtype=torch.bfloat16)


def encoder_input(batch: Batch, with_users: bool = False) -> EncoderInput:
    """The part of a batch that the encoder sees."""
    return EncoderInput(
        batch.item_ids_BL,
        batch.segments_BL,
        batch.positions_BL,
        batch.users_S.numel(),
        batch.users_S + 1 if with_users else None,
    )


def loss_batch(parts: Parts, batch: Batch) -> LossBatch:
    """The part of a batch that the loss sees."""
    log_shares = parts.log_shares or (None,) * len(batch.negatives)
    return LossBatch(
        targets_N=batch.targets_N,
        num_items=parts.num_items,
        sequence_N=batch.sequence_N,
        negatives=tuple(
            Negatives(*source, log_share_V)
            for source, log_share_V in zip(batch.negatives, log_shares, strict=True)
        ),
        log_popularity_V=parts.log_popularity_V,
        generator=parts.generator,
    )


def hidden_of(parts: Parts, batch: Batch) -> Tensor:
    """Hidden states at the positions that have a target, (N, D)."""
    has_users = user_table_of(parts.model) is not None
    hidden_BLD = parts.model(encoder_input(batch, with_users=has_users))
    return hidden_BLD.reshape(-1, hidden_BLD.size(-1)).index_select(0, batch.valid_N)


def training_step(
    parts: Parts,
    batch: Batch,
    announce: Announce,
    *,
    update: bool = True,
    share: float | None = None,
) -> Tensor:
    """One step on a batch that is on the device; returns the detached loss, a scalar.

    With `update` False the gradients stay and wait for the next step (gradient accumulation). What
    is minimised is the mean over the positions of the whole window, of which this batch holds
    `share` (None: as many as each of the others).
    """
    share = 1 / parts.accumulate if share is None else share
    with parts.autocast():
        with announce(Phase.FORWARD):
            hidden_ND = hidden_of(parts, batch)
        with announce(Phase.LOSS):
            loss = _loss_of(parts, hidden_ND, loss_batch(parts, batch))
            if parts.accumulate > 1:
                loss = loss * share
    del hidden_ND
    with announce(Phase.BACKWARD), deterministic_as_before():
        loss.backward()
    if update:
        with announce(Phase.OPTIMIZER):
            update_weights(parts)
    return loss.detach() / share


def _loss_of(parts: Parts, hidden_ND: Tensor, batch: LossBatch) -> Tensor:
    """The loss. What it knows of the table's gradient goes to a streamed update's optimizer."""
    loss: Any = parts.loss
    item_table: Any = parts.model.item_table_VD
    if parts.table is None or not parts.table.streamed:
        return loss(hidden_ND, item_table, batch)
    value, gradient = loss.streamed(hidden_ND, item_table, batch)
    parts.table.collect(gradient)
    return value


def update_weights(parts: Parts) -> None:
    """Take a step of each optimizer and let the gradients go."""
    if parts.clip_norm:
        weights = [weight for group in parts.optimizer.param_groups for weight in group["params"]]
        nn.utils.clip_grad_norm_(weights, parts.clip_norm)
    for optimizer in parts.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
