"""Walk users through the catalog, one item after the other, and write their histories."""

import numpy as np
from numba import njit

from scalelab.synthetic.draws import (
    DRAW,
    GOLDEN,
    SUCCESSOR,
    choose,
    contains,
    draw_rank,
    fill_tastes,
    fold,
    item_of_rank,
    key_of,
    mix,
    successor,
    taste_size,
    unit,
)

__all__ = ["fill_histories"]

# After so many draws of seen items the rest of the catalog is drawn from uniformly. With default
# weights this never happens; it only keeps a degenerate choice of options from not ending.
_TRIES = 1000


@njit(nogil=True, cache=True)
def fill_histories(law, first, offsets, item_ids, taste_cumulative, successor_cumulative, repeats):
    """Write the histories of the users `first`, first + 1, ... into `item_ids` at `offsets`."""
    successor_key = key_of(law.seed, 0, SUCCESSOR)
    tastes = np.empty(len(taste_cumulative), dtype=np.int64)
    longest = 1
    for n in range(len(offsets) - 1):
        longest = max(longest, offsets[n + 1] - offsets[n])
    ranks = np.empty(longest, dtype=np.int64)
    for n in range(len(offsets) - 1):
        user = first + n
        fill_tastes(law, user, tastes)
        key = key_of(law.seed, user, DRAW)
        counter = 0
        for step in range(offsets[n + 1] - offsets[n]):
            tries = 0
            while True:
                bits = fold(key, counter)
                counter += 1
                tries += 1
                u = unit(bits)
                v = unit(mix(bits ^ GOLDEN))
                if tries > _TRIES:
                    rank = np.int64(u * law.num_items)
                elif u < law.transition and step > 0:
                    k = choose(v, successor_cumulative)
                    rank = successor(law, successor_key, ranks[step - 1], k)
                elif u < law.transition + law.taste:
                    # What is left of u is uniform again: it chooses the taste, v the item in it.
                    # Before the first item there is no transition; its share falls to the taste.
                    low = law.transition if step > 0 else 0.0
                    chosen = tastes[
                        choose((u - low) / (law.transition + law.taste - low), taste_cumulative)
                    ]
                    size = taste_size(law, chosen)
                    rank = draw_rank(v, size, law.exponent) * law.num_tastes + chosen
                else:
                    rank = draw_rank(v, law.num_items, law.exponent)
                if repeats or not contains(ranks, step, rank):
                    break
            ranks[step] = rank
            item_ids[offsets[n] + step] = item_of_rank(law, rank)
