"""Compute how likely each item was to be drawn as a negative, for corrections of sampled losses."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from scalelab.losses import LossBatch

__all__ = ["Proposal"]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What is taken off the scores of targets and negatives: `strength` times a log-probability.

    `of` = "source": that of each source, not normalised; the target's by the first source.
    "mixture": the log of how often all sources together are expected to draw the item,

        Q(i) = sum over sources of K p(i)^exponent / (sum over all items j of p(j)^exponent),

    where p is the item's share of the training interactions (an item without any counts once).
    With `target` False the target's score stays as it is.
    """

    batch: LossBatch
    strength: float
    of: str = "source"
    target: bool = True

    def of_targets(self, targets_T: Tensor) -> Tensor | None:
        """What is taken off the targets' scores; None: nothing."""
        if not self.target:
            return None
        return self.of_negatives(targets_T, 0)

    def of_negatives(self, ids: Tensor, source: int) -> Tensor | None:
        """What is taken off the scores of items that the source of that number drew."""
        if not self.strength:
            return None
        if self.of == "mixture":
            return self.strength * self._log_expected(ids)
        exponent = self.batch.negatives[source].exponent
        return self.strength * exponent * self._log_share(ids) if exponent else None

    def _log_expected(self, ids: Tensor) -> Tensor:
        log_share = self._log_share(ids)
        total = torch.full_like(log_share, -torch.inf)
        for source, log_norm in zip(self.batch.negatives, self._log_norms, strict=True):
            log_count = math.log(source.ids.shape[-1]) + source.exponent * log_share - log_norm
            total = torch.logaddexp(total, log_count)
        return total

    @cached_property
    def _log_norms(self) -> list[Tensor | float]:
        """By source, the log of its sum over all items."""
        assert self.batch.log_popularity_V is not None
        log_share_V = self.batch.log_popularity_V[1:]
        known: dict[float, Tensor | float] = {0.0: math.log(self.batch.num_items)}
        for source in self.batch.negatives:
            if source.exponent not in known:
                known[source.exponent] = torch.logsumexp(source.exponent * log_share_V, 0)
        return [known[source.exponent] for source in self.batch.negatives]

    def _log_share(self, ids: Tensor) -> Tensor:
        assert self.batch.log_popularity_V is not None
        return self.batch.log_popularity_V[ids]
