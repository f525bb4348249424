"""Compute how likely each item was to be drawn as a negative, for corrections of sampled losses."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from scalelab.losses import LossBatch, Negatives

__all__ = ["Proposal"]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What is taken off the scores of targets and negatives: `strength` times a log-probability.

    `of` = "source": that of each source, not normalised; the target's by the first source.
    "mixture": the log of how often all sources together are expected to draw the item,

        Q(i) = sum over sources of K p(i)^exponent / (sum over all items j of p(j)^exponent),

    where p is the item's share of the training interactions (an item without any counts once).
    A source that does not draw by popularity says itself how likely it draws an item. With `target`
    False the target's score stays as it is.
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
        drawn_by = self.batch.negatives[source]
        if drawn_by.exponent is None:
            return self.strength * _own_log_share(drawn_by, ids)
        if not drawn_by.exponent:
            return None
        return self.strength * drawn_by.exponent * self._log_share(ids)

    def _log_expected(self, ids: Tensor) -> Tensor:
        log_share = self._log_share(ids)
        total = torch.full_like(log_share, -torch.inf)
        for source in self.batch.negatives:
            log_count = math.log(source.ids.shape[-1])
            if source.exponent is None:
                log_count = log_count + _own_log_share(source, ids)
            else:
                log_norm = self._log_norms[source.exponent]
                log_count = log_count + source.exponent * log_share - log_norm
            total = torch.logaddexp(total, log_count)
        return total

    @cached_property
    def _log_norms(self) -> dict[float, Tensor | float]:
        """By exponent, the log of the sum over all items."""
        assert self.batch.log_popularity_V is not None
        log_share_V = self.batch.log_popularity_V[1:]
        known: dict[float, Tensor | float] = {0.0: math.log(self.batch.num_items)}
        for source in self.batch.negatives:
            if source.exponent is not None and source.exponent not in known:
                known[source.exponent] = torch.logsumexp(source.exponent * log_share_V, 0)
        return known

    def _log_share(self, ids: Tensor) -> Tensor:
        assert self.batch.log_popularity_V is not None
        return self.batch.log_popularity_V[ids]


def _own_log_share(source: Negatives, ids: Tensor) -> Tensor:
    assert source.log_share_V is not None, "a source without an exponent says its probabilities"
    return source.log_share_V[ids]
