"""A seed and a user in, that user's synthetic history and the best ranking of its target out.

Items have a popularity rank r = 0, 1, ...; rank r has taste r % C and is number r // C in it.
Within the catalog and within a taste, ranks follow a bounded Pareto law rounded down, so that the
probability of a rank, and a draw of it, take one `pow` and no table. All draws are counter-based
(SplitMix64), keyed by seed, user and step: the same whatever the number of threads.
"""

import math

import numpy as np
from numba import njit

__all__ = ["fill_histories", "history_length", "item_of_rank", "key_of", "rank_quality"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LENGTH, _TASTE, _DRAW, _SUCCESSOR = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
_UNIT = 1.0 / 2.0**53
# After so many draws of seen items the rest of the catalog is drawn from uniformly. With default
# weights this never happens; it only keeps a degenerate choice of options from not ending.
_TRIES = 1000


@njit(nogil=True, cache=True, inline="always")
def _mix(x):
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(nogil=True, cache=True, inline="always")
def _fold(key, counter):
    return _mix(key + (np.uint64(counter) + np.uint64(1)) * GOLDEN)


@njit(nogil=True, cache=True, inline="always")
def _unit(x):
    """64 bits as a number in [0, 1)."""
    return np.float64(x >> np.uint64(11)) * _UNIT


@njit(nogil=True, cache=True)
def key_of(seed, user, what):
    """The key of one purpose of one user."""
    return _fold(_fold(_fold(np.uint64(0), seed), what), user)


@njit(nogil=True, cache=True, inline="always")
def _draw_rank(u, n, exponent):
    """The rank in 0..n-1 at the share `u` of the bounded Pareto law on [1, n + 1)."""
    if exponent == 1.0:
        x = math.exp(u * math.log(n + 1.0))
    else:
        power = 1.0 - exponent
        x = (1.0 + u * ((n + 1.0) ** power - 1.0)) ** (1.0 / power)
    return min(max(np.int64(x) - 1, 0), n - 1)


@njit(nogil=True, cache=True)
def _rank_share(rank, n, exponent):
    """Probability of `rank` under `_draw_rank`."""
    low = rank + 1.0
    if exponent == 1.0:
        return math.log1p(1.0 / low) / math.log(n + 1.0)
    power = 1.0 - exponent
    return low**power * math.expm1(power * math.log1p(1.0 / low)) / ((n + 1.0) ** power - 1.0)


@njit(nogil=True, cache=True, inline="always")
def _taste_size(taste, num_items, num_tastes):
    return (num_items - taste + num_tastes - 1) // num_tastes


@njit(nogil=True, cache=True, inline="always")
def _successor(seed_key, rank, k, num_items, num_tastes, exponent):
    """The k-th successor of `rank`: an item of the same taste."""
    taste = rank % num_tastes
    u = _unit(_fold(_fold(seed_key, rank), k))
    return _draw_rank(u, _taste_size(taste, num_items, num_tastes), exponent) * num_tastes + taste


@njit(nogil=True, cache=True)
def item_of_rank(rank, num_items, stride):
    """Item id, 1..num_items, of a popularity rank; `stride` and num_items are coprime."""
    return (rank * stride) % num_items + 1


@njit(nogil=True, cache=True)
def history_length(seed, user, shortest, mean, longest):
    """`shortest` plus an exponential excess, rounded down, at most `longest`."""
    if longest <= shortest or mean <= shortest:
        return np.int64(shortest)
    u = _unit(key_of(seed, user, _LENGTH))
    # floor of an exponential is geometric with mean 1 / (e^rate - 1).
    rate = math.log1p(1.0 / (mean - shortest))
    return min(np.int64(shortest - math.log1p(-u) / rate), np.int64(longest))


@njit(nogil=True, cache=True)
def _fill_tastes(seed, user, num_tastes, tastes):
    key = key_of(seed, user, _TASTE)
    for m in range(len(tastes)):
        tastes[m] = np.int64(_unit(_fold(key, m)) * num_tastes)


@njit(nogil=True, cache=True)
def _choose(u, cumulative):
    for m in range(len(cumulative) - 1):
        if u < cumulative[m]:
            return m
    return len(cumulative) - 1


@njit(nogil=True, cache=True)
def fill_histories(
    first, offsets, item_ids, seed, num_items, num_tastes, stride, exponent, successor_exponent,
    taste, transition, taste_cumulative, successor_cumulative, repeats,
):  # fmt: skip
    """Histories of the users `first`, first + 1, ... into `item_ids` at `offsets`."""
    successor_key = key_of(seed, 0, _SUCCESSOR)
    tastes = np.empty(len(taste_cumulative), dtype=np.int64)
    longest = 1
    for n in range(len(offsets) - 1):
        longest = max(longest, offsets[n + 1] - offsets[n])
    ranks = np.empty(longest, dtype=np.int64)
    for n in range(len(offsets) - 1):
        user = first + n
        _fill_tastes(seed, user, num_tastes, tastes)
        key = key_of(seed, user, _DRAW)
        counter = 0
        for step in range(offsets[n + 1] - offsets[n]):
            tries = 0
            while True:
                bits = _fold(key, counter)
                counter += 1
                tries += 1
                u = _unit(bits)
                v = _unit(_mix(bits ^ GOLDEN))
                if tries > _TRIES:
                    rank = np.int64(u * num_items)
                elif u < transition and step > 0:
                    k = _choose(v, successor_cumulative)
                    rank = _successor(
                        successor_key, ranks[step - 1], k, num_items, num_tastes, successor_exponent
                    )
                elif u < transition + taste:
                    # What is left of u is uniform again: it chooses the taste, v the item in it.
                    # Before the first item there is no transition; its share falls to the taste.
                    low = transition if step > 0 else 0.0
                    chosen = tastes[
                        _choose((u - low) / (transition + taste - low), taste_cumulative)
                    ]
                    size = _taste_size(chosen, num_items, num_tastes)
                    rank = _draw_rank(v, size, exponent) * num_tastes + chosen
                else:
                    rank = _draw_rank(v, num_items, exponent)
                if repeats or not _seen(ranks, step, rank):
                    break
            ranks[step] = rank
            item_ids[offsets[n] + step] = item_of_rank(rank, num_items, stride)


@njit(nogil=True, cache=True, inline="always")
def _seen(ranks, count, rank):
    found = False
    for at in range(count):
        found |= ranks[at] == rank
    return found


@njit(nogil=True, cache=True)
def _background(rank, num_items, num_tastes, exponent, taste, transition, tastes, shares):
    """Probability of `rank` without transitions."""
    p = (1.0 - taste - transition) * _rank_share(rank, num_items, exponent)
    chosen = rank % num_tastes
    for m in range(len(tastes)):
        if tastes[m] == chosen:
            size = _taste_size(chosen, num_items, num_tastes)
            p += taste * shares[m] * _rank_share(rank // num_tastes, size, exponent)
    return p


@njit(nogil=True, cache=True)
def rank_quality(
    users, starts, ends, item_ids, targets, k, exclude, seed, num_items, num_tastes, unstride,
    exponent, successor_exponent, taste, transition, taste_shares, successor_shares,
):  # fmt: skip
    """Sum over users of the NDCG@k of ranking `targets` by their true probabilities.

    Each list (a taste, the whole catalog) falls in probability along its ranks, so the items ahead
    of the target stand at the lists' heads, and a walk may stop at the k-th of them.
    """
    successor_key = key_of(seed, 0, _SUCCESSOR)
    tastes = np.empty(len(taste_shares), dtype=np.int64)
    following = np.empty(len(successor_shares), dtype=np.int64)
    total = 0.0
    for n in range(len(users)):
        _fill_tastes(seed, users[n], num_tastes, tastes)
        length = ends[n] - starts[n]
        seen = np.empty(length, dtype=np.int64)
        for at in range(length):
            seen[at] = ((item_ids[starts[n] + at] - 1) * unstride) % num_items
        target = ((np.int64(targets[n]) - 1) * unstride) % num_items
        if exclude and _seen(seen, length, target):
            continue
        for j in range(len(following)):
            following[j] = _successor(
                successor_key, seen[length - 1], j, num_items, num_tastes, successor_exponent
            )
        goal = _background(
            target, num_items, num_tastes, exponent, taste, transition, tastes, taste_shares
        )
        goal += transition * _share_of(target, following, successor_shares)
        ahead, ties = 0, 0
        for j in range(len(following)):
            rank = following[j]
            if (
                rank == target
                or _seen(following, j, rank)
                or (exclude and _seen(seen, length, rank))
            ):
                continue
            p = _background(
                rank, num_items, num_tastes, exponent, taste, transition, tastes, taste_shares
            )
            p += transition * _share_of(rank, following, successor_shares)
            ahead += p > goal
            ties += p == goal
        for m in range(len(tastes) + 1):
            whole = m == len(tastes)
            if not whole and _seen(tastes, m, tastes[m]):
                continue
            size = num_items if whole else _taste_size(tastes[m], num_items, num_tastes)
            for place in range(size):
                if ahead >= k:
                    break
                rank = place if whole else place * num_tastes + tastes[m]
                if whole and _seen(tastes, len(tastes), rank % num_tastes):
                    continue
                p = _background(
                    rank, num_items, num_tastes, exponent, taste, transition, tastes, taste_shares
                )
                if p < goal:
                    break
                if rank == target or _seen(following, len(following), rank):
                    continue
                if exclude and _seen(seen, length, rank):
                    continue
                ahead += p > goal
                ties += p == goal
        # Tied items stand in any order: the mean over the places that the target may take.
        gain = 0.0
        for place in range(ahead, min(ahead + ties + 1, k)):
            gain += 1.0 / math.log2(place + 2.0)
        total += gain / (ties + 1)
    return total


@njit(nogil=True, cache=True)
def _share_of(rank, following, successor_shares):
    share = 0.0
    for j in range(len(following)):
        if following[j] == rank:
            share += successor_shares[j]
    return share
