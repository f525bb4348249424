"""Measure how predictable histories are, by figures that are known for language too.

With p the shares of the items among all interactions and q those of pairs of neighbours in a
history, all in bits:

- `entropy_bits` = -sum p log2 p: of the next item to who knows popularity alone;
- `conditional_entropy_bits` = -sum q log2 q + sum q1 log2 q1, where q1 are the shares of the first
  items of pairs: of the next item to who knows the one before. It is that of the observed shares,
  so it is too low where most pairs occur once; `pairs_that_occur_once` says how many do;
- `zipf_exponent`: the s under which the item of rank r has the share r^-s / sum, most likely given
  the counts;
- `repeat_rate`: the share of interactions whose item the user has had before, `repeat_of_last_rate`
  that of neighbours that are equal.
"""

import math

import numpy as np

from scalelab.datasets.interactions import Interactions

__all__ = ["sequence_statistics", "zipf_exponent"]

_STEEPEST = 20.0


def sequence_statistics(
    interactions: Interactions, counts: np.ndarray, repeats: int
) -> dict[str, float]:
    """The figures above; `counts` are those of items 1, 2, ..., `repeats` that of repeated
    interactions. Figures of pairs are left out where no history has two items.
    """
    found = {
        "entropy_bits": _entropy(counts),
        "zipf_exponent": zipf_exponent(counts),
        "repeat_rate": repeats / interactions.num_interactions,
    }
    items, is_first = interactions.item_ids, np.zeros(interactions.num_interactions, np.bool_)
    is_first[interactions.offsets[:-1][np.diff(interactions.offsets) > 0]] = True
    after = np.flatnonzero(~is_first)
    if not len(after):
        return found
    before, following = items[after - 1].astype(np.int64), items[after]
    pairs = np.unique(before * (interactions.num_items + 1) + following, return_counts=True)[1]
    return found | {
        "conditional_entropy_bits": max(0.0, _entropy(pairs) - _entropy(np.bincount(before))),
        "pairs_that_occur_once": float((pairs == 1).sum() / len(after)),
        "repeat_of_last_rate": float((before == following).mean()),
    }


def zipf_exponent(counts: np.ndarray) -> float:
    """The most likely s: under it the mean of log(rank) is that of the interactions."""
    log_rank = np.log(np.arange(1, len(counts) + 1))
    observed = float((np.sort(counts)[::-1] * log_rank).sum() / counts.sum())
    low, high = 0.0, _STEEPEST
    for _ in range(60):
        middle = (low + high) / 2
        weights = np.exp(-middle * log_rank)
        expected = float((weights * log_rank).sum() / weights.sum())
        # The steeper, the lower the mean.
        low, high = (middle, high) if expected > observed else (low, middle)
    return (low + high) / 2


def _entropy(counts: np.ndarray) -> float:
    some = counts[counts > 0].astype(np.float64)
    total = some.sum()
    return float(math.log2(total) - (some * np.log2(some)).sum() / total)
