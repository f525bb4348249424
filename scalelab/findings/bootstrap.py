"""Test whether two configurations differ on the same test users by more than chance.

The users of a data set are a sample: other users would give another mean. A paired bootstrap draws
as many users again, with replacement, and looks at the mean difference of each drawing. A user who
has several lists is drawn with all of them, as they are not independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["DRAWS", "LEVEL", "Difference", "adjusted", "draws_for", "paired_bootstrap"]

# Enough that 50 comparisons can find a difference: 50 times the smallest p-value is below LEVEL.
DRAWS = 3_000
_DRAWS_EACH = 60
_MOST_DRAWS = 12_000
# Differences whose adjusted p-value is below this are taken as real.
LEVEL = 0.05
# Beyond so many standard errors no drawing of a bootstrap comes near 0.
_CLEAR = 8.0
# The two-sided tail of the normal distribution there: smaller than drawings can show.
_CLEAR_P = math.erfc(_CLEAR / math.sqrt(2))
_MOST_VALUES = 2_000
# No correction makes a p-value smaller: what is above this needs no more digits.
_FAR_ABOVE = 0.2


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A mean difference over users, or their lists, its interval of 95 %, its two-sided p-value."""

    mean: float
    low: float
    high: float
    p_value: float


def paired_bootstrap(
    first: np.ndarray,
    second: np.ndarray,
    *,
    num_lists: np.ndarray | None = None,
    seed: int = 0,
    draws: int = DRAWS,
    enough: int | None = None,
) -> Difference:
    """The difference first - second of two figures of each user.

    With `num_lists` a figure is the sum over so many lists of the user, and the difference is that
    of the means over all lists: sum of figures over number of lists, in each drawing.

    The p-value is twice the share of drawings on the smaller side of 0, those at 0 counted on both;
    beyond eight standard errors it is the tail of the normal distribution there. With
    `enough`, so many drawings will do where they already show a p-value far above every level.
    """
    difference = np.asarray(first, float) - np.asarray(second, float)
    values, lists, counts = _grouped(difference, num_lists)
    number, all_lists = int(counts.sum()), int(lists @ counts)
    mean = float(values @ counts) / all_lists
    # The sum changes with the number of lists that are drawn: what is left is chance.
    error = float(np.sqrt((values - mean * lists) ** 2 @ counts)) / all_lists
    if abs(mean) > _CLEAR * error:
        half = 1.96 * error
        # The normal tail holds for many users only; a few may agree by chance.
        p_value = max(_CLEAR_P, min(2 / (draws + 1), 2.0 ** (1 - min(number, 100))))
        return Difference(mean=mean, low=mean - half, high=mean + half, p_value=p_value)
    rng = np.random.default_rng(seed)
    enough = draws if enough is None else min(enough, draws)
    means = _means(rng, values, lists, counts, draws=enough)
    if enough < draws and _p_value(means) < _FAR_ABOVE:
        more = _means(rng, values, lists, counts, draws=draws - enough)
        means = np.concatenate([means, more])
    low, high = np.quantile(means, (0.025, 0.975))
    return Difference(mean=mean, low=float(low), high=float(high), p_value=_p_value(means))


def draws_for(comparisons: int) -> int:
    """Enough that the smallest p-value of so many comparisons is below LEVEL when corrected.

    Beyond 300 comparisons more would take too long: there only clear differences are found.
    """
    return min(max(DRAWS, _DRAWS_EACH * comparisons), _MOST_DRAWS)


def adjusted(p_values: Sequence[float]) -> list[float]:
    """Holm's correction: at a level of 5 %, at most 5 % of the studies have a false finding at all.

    The smallest is multiplied by the number of all, the next by one less, and none gets smaller
    than one before it.
    """
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    found, largest = [0.0] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p_values[index]))
        found[index] = largest
    return found


def _grouped(
    differences: np.ndarray, num_lists: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct pairs of a difference and a number of lists, and how often each comes.

    Where there are very many differences, near ones of as many lists are taken together at their
    mean, which keeps the mean of all.
    """
    rounded = np.round(differences, 12)
    if num_lists is None:
        values, counts = np.unique(rounded, return_counts=True)
        if len(values) <= _MOST_VALUES:
            return values, np.ones_like(counts), counts
    lists = np.ones(len(differences), np.int64) if num_lists is None else num_lists
    values, kind = np.unique(rounded, return_inverse=True)
    if len(values) > _MOST_VALUES:
        low, high = values[0], values[-1]
        kind = np.minimum((rounded - low) / (high - low) * _MOST_VALUES, _MOST_VALUES - 1)
    number = np.unique(lists, return_inverse=True)[1]
    _, place = np.unique(number * _MOST_VALUES + kind.astype(np.int64), return_inverse=True)
    counts = np.bincount(place)
    of_place = np.zeros(len(counts), np.int64)
    of_place[place] = lists
    return np.bincount(place, rounded) / counts, of_place, counts


def _means(
    rng: np.random.Generator,
    values: np.ndarray,
    lists: np.ndarray,
    counts: np.ndarray,
    *,
    draws: int,
) -> np.ndarray:
    """The mean of each drawing.

    To draw users is to draw how often each value comes: far fewer numbers where users are many.
    """
    number, at_once = int(counts.sum()), max(1, 4_000_000 // len(values))
    parts = []
    for begun in range(0, draws, at_once):
        drawn = rng.multinomial(number, counts / number, size=min(at_once, draws - begun))
        parts.append((drawn @ values) / (drawn @ lists))
    return np.concatenate(parts)


def _p_value(means: np.ndarray) -> float:
    # Sums of floats that are 0 by hand are not 0 to the last digit.
    at_most, at_least = int((means <= 1e-12).sum()), int((means >= -1e-12).sum())
    return min(1.0, 2 * (1 + min(at_most, at_least)) / (len(means) + 1))
