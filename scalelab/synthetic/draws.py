"""Draw lengths, tastes, ranks and successors of the generative model from counters.

Items have a popularity rank r = 0, 1, ...; rank r has taste r % C and is number r // C in it.
Within the catalog and within a taste, ranks follow a bounded Pareto law rounded down, so that the
probability of a rank, and a draw of it, take one `pow` and no table. All draws are counter-based
(SplitMix64), keyed by seed, user and step: the same whatever the number of threads. numba renews a
cached kernel only when the kernel's own file changes: after a change here, clear `__pycache__`.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

__all__ = [
    "DRAW",
    "GOLDEN",
    "SUCCESSOR",
    "Law",
    "choose",
    "contains",
    "draw_rank",
    "fill_lengths",
    "fill_tastes",
    "fold",
    "item_of_rank",
    "key_of",
    "mix",
    "rank_share",
    "successor",
    "taste_size",
    "unit",
]


class Law(NamedTuple):
    """The options that decide every probability; see `Synthetic`.

    `stride` spreads ranks over item ids, `num_tastes` is C.
    """

    seed: int
    num_items: int
    num_tastes: int
    stride: int
    exponent: float
    successor_exponent: float
    taste: float
    transition: float


GOLDEN = np.uint64(0x9E3779B97F4A7C15)
# What a key is for.
_LENGTH = np.uint64(1)
_TASTE = np.uint64(2)
DRAW = np.uint64(3)
SUCCESSOR = np.uint64(4)
_UNIT = 1.0 / 2.0**53


@njit(nogil=True, cache=True, inline="always")
def mix(x):
    """64 bits, each of which depends on every bit of `x`."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(nogil=True, cache=True, inline="always")
def fold(key, counter):
    """The number at `counter` of the stream `key`; may be a key in its turn."""
    return mix(key + (np.uint64(counter) + np.uint64(1)) * GOLDEN)


@njit(nogil=True, cache=True, inline="always")
def unit(x):
    """64 bits as a number in [0, 1)."""
    return np.float64(x >> np.uint64(11)) * _UNIT


@njit(nogil=True, cache=True)
def key_of(seed, user, what):
    """The key of one purpose of one user."""
    return fold(fold(fold(np.uint64(0), seed), what), user)


@njit(nogil=True, cache=True, inline="always")
def draw_rank(u, n, exponent):
    """The rank in 0..n-1 at the share `u` of the bounded Pareto law on [1, n + 1)."""
    if exponent == 1.0:
        x = math.exp(u * math.log(n + 1.0))
    else:
        power = 1.0 - exponent
        x = (1.0 + u * ((n + 1.0) ** power - 1.0)) ** (1.0 / power)
    return min(max(np.int64(x) - 1, 0), n - 1)


@njit(nogil=True, cache=True)
def rank_share(rank, n, exponent):
    """Probability of `rank` under `draw_rank`."""
    low = rank + 1.0
    if exponent == 0.0:
        return 1.0 / n  # the formula below would break ties by rounding
    if exponent == 1.0:
        return math.log1p(1.0 / low) / math.log(n + 1.0)
    power = 1.0 - exponent
    return low**power * math.expm1(power * math.log1p(1.0 / low)) / ((n + 1.0) ** power - 1.0)


@njit(nogil=True, cache=True, inline="always")
def taste_size(law, taste):
    """How many items have a taste."""
    return (law.num_items - taste + law.num_tastes - 1) // law.num_tastes


@njit(nogil=True, cache=True, inline="always")
def successor(law, successor_key, rank, k):
    """The k-th successor of `rank`: an item of the same taste."""
    taste = rank % law.num_tastes
    u = unit(fold(fold(successor_key, rank), k))
    place = draw_rank(u, taste_size(law, taste), law.successor_exponent)
    return place * law.num_tastes + taste


@njit(nogil=True, cache=True)
def item_of_rank(law, rank):
    """Item id, 1..num_items, of a popularity rank; `stride` and num_items are coprime."""
    return (rank * law.stride) % law.num_items + 1


@njit(nogil=True, cache=True)
def _history_length(seed, user, shortest, mean, longest):
    """`shortest` plus an exponential excess, rounded down, at most `longest`."""
    if longest <= shortest or mean <= shortest:
        return np.int64(shortest)
    u = unit(key_of(seed, user, _LENGTH))
    # floor of an exponential is geometric with mean 1 / (e^rate - 1).
    rate = math.log1p(1.0 / (mean - shortest))
    return min(np.int64(shortest - math.log1p(-u) / rate), np.int64(longest))


@njit(nogil=True, cache=True)
def fill_lengths(lengths, seed, shortest, mean, longest):
    """Write the length of every user's history."""
    for user in range(len(lengths)):
        lengths[user] = _history_length(seed, user, shortest, mean, longest)


@njit(nogil=True, cache=True)
def fill_tastes(law, user, tastes):
    """Write the hidden tastes of a user; one may come twice."""
    key = key_of(law.seed, user, _TASTE)
    for m in range(len(tastes)):
        tastes[m] = np.int64(unit(fold(key, m)) * law.num_tastes)


@njit(nogil=True, cache=True)
def choose(u, cumulative):
    """The first place whose cumulative share exceeds `u`."""
    for m in range(len(cumulative) - 1):
        if u < cumulative[m]:
            return m
    return len(cumulative) - 1


@njit(nogil=True, cache=True, inline="always")
def contains(ranks, count, rank):
    """Whether `rank` is one of the first `count` of `ranks`."""
    found = False
    for at in range(count):
        found |= ranks[at] == rank
    return found
