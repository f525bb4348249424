"""Compute the quality of the best possible ranking: that by the true next-item probabilities.

The probability that an item of rank r comes next, for a user with tastes c_0, c_1, ... whose last
item has the successors s_0, s_1, ...:

    p(r) =  (1 - taste - transition) * share(r in the catalog)
          + taste      * sum of w_m * share(r // C in the taste c_m)  over m with c_m = r % C
          + transition * sum of v_j                                   over j with s_j = r

The best ranking sorts items by p. A target's place in it is the number of items with a larger p:

    successors   s_0 s_1 ... s_7       in no order: each is compared with the target
    taste c_0    c0_0 c0_1 c0_2 ...    p falls along a list, so a walk ends at the first item
    taste c_1    c1_0 c1_1 c1_2 ...    with a smaller p than the target, or once k are ahead
    catalog      r_0  r_1  r_2  ...    items of these tastes are counted above, and skipped here

Tied items stand in any order, as `ranking.metrics` has it.
"""

import numpy as np
from numba import njit

from scalelab.synthetic.draws import (
    SUCCESSOR,
    contains,
    fill_tastes,
    key_of,
    rank_share,
    successor,
    taste_size,
)

__all__ = ["find_places", "probability"]


@njit(nogil=True, cache=True)
def find_places(
    law, users, starts, ends, item_ids, targets, k, exclude, unstride, taste_shares,
    successor_shares, above, ties,
):  # fmt: skip
    """Fill in how many items are more probable than each user's target, and how many, the target
    included, are as probable. Both are exact where fewer than `k` are more probable.

    With `exclude` the items of a history are left out of the ranking; a target among them has 0
    ties. `unstride` is the inverse of the law's stride: it leads from item ids back to ranks.
    """
    successor_key = key_of(law.seed, 0, SUCCESSOR)
    tastes = np.empty(len(taste_shares), dtype=np.int64)
    following = np.empty(len(successor_shares), dtype=np.int64)
    for n in range(len(users)):
        fill_tastes(law, users[n], tastes)
        length = ends[n] - starts[n]
        seen = np.empty(length, dtype=np.int64)
        for at in range(length):
            seen[at] = ((item_ids[starts[n] + at] - 1) * unstride) % law.num_items
        target = ((np.int64(targets[n]) - 1) * unstride) % law.num_items
        above[n], ties[n] = 0, 0
        if exclude and contains(seen, length, target):
            continue
        for j in range(len(following)):
            following[j] = successor(law, successor_key, seen[length - 1], j)
        excluded = seen if exclude else seen[:0]
        goal = probability(law, target, tastes, taste_shares, following, successor_shares)
        ahead, level = _among_successors(
            law, target, goal, tastes, taste_shares, following, successor_shares, excluded
        )
        for m in range(len(tastes) + 1):
            if m < len(tastes) and contains(tastes, m, tastes[m]):
                continue  # the same taste again
            ahead, level = _along_list(
                law, m, target, goal, k, ahead, level, tastes, taste_shares, following, excluded
            )
        above[n], ties[n] = ahead, level + 1


@njit(nogil=True, cache=True)
def probability(law, rank, tastes, taste_shares, following, successor_shares):
    """The probability that the item of `rank` comes next."""
    share = 0.0
    for j in range(len(following)):
        if following[j] == rank:
            share += successor_shares[j]
    return _without_transition(law, rank, tastes, taste_shares) + law.transition * share


@njit(nogil=True, cache=True)
def _without_transition(law, rank, tastes, taste_shares):
    p = (1.0 - law.taste - law.transition) * rank_share(rank, law.num_items, law.exponent)
    chosen = rank % law.num_tastes
    for m in range(len(tastes)):
        if tastes[m] == chosen:
            size = taste_size(law, chosen)
            p += (
                law.taste * taste_shares[m] * rank_share(rank // law.num_tastes, size, law.exponent)
            )
    return p


@njit(nogil=True, cache=True)
def _among_successors(
    law, target, goal, tastes, taste_shares, following, successor_shares, excluded
):
    """How many successors are more probable than the target, and how many as probable."""
    ahead, ties = 0, 0
    for j in range(len(following)):
        rank = following[j]
        if (
            rank == target
            or contains(following, j, rank)
            or contains(excluded, len(excluded), rank)
        ):
            continue
        p = probability(law, rank, tastes, taste_shares, following, successor_shares)
        ahead += p > goal
        ties += p == goal
    return ahead, ties


@njit(nogil=True, cache=True)
def _along_list(law, m, target, goal, k, ahead, ties, tastes, taste_shares, following, excluded):
    """`ahead` and `ties` with the items of the m-th taste added, or of the catalog after them."""
    whole = m == len(tastes)
    size = law.num_items if whole else taste_size(law, tastes[m])
    for place in range(size):
        if ahead >= k:
            break
        rank = place if whole else place * law.num_tastes + tastes[m]
        if whole and contains(tastes, len(tastes), rank % law.num_tastes):
            continue
        p = _without_transition(law, rank, tastes, taste_shares)
        if p < goal:
            break
        if rank == target or contains(following, len(following), rank):
            continue
        if contains(excluded, len(excluded), rank):
            continue
        ahead += p > goal
        ties += p == goal
    return ahead, ties
