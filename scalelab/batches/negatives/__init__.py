"""Draw negative items from a source. The file's name is the name of the source.

A source is a frozen dataclass whose fields are its own options (`num_negatives`, `per` and `reject`
belong to every source and are handled outside it). `bind` prepares what it needs of a catalog and
returns the function that draws. A draw depends on (seed, epoch, source, user, position, k) and, for
sources that look at the step, on the items of the step; on nothing else. A class with a true
`needs_clock` is refused where `Catalog.clock` is not known.
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np

from scalelab.batches._kernels import count_items
from scalelab.core.errors import DataError
from scalelab.datasets.clock import Clock

__all__ = ["Catalog", "Draw", "Places", "Source", "nothing_left"]


class Catalog(NamedTuple):
    """Training histories (items int32; starts, ends int64, one per user), and when their items were
    taken, where that is known.
    """

    items: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    num_items: int
    clock: Clock | None = None

    @property
    def counts_V(self) -> np.ndarray:
        """How often each item occurs, int64; counted at each call, as few sources need it."""
        counts_V = np.zeros(self.num_items + 1, np.int64)
        count_items(self.items, self.starts, self.ends, counts_V)
        return counts_V


class Places(NamedTuple):
    """Where the draws of some consecutive steps go.

    Owner q (a user, or a step for draws per batch) has `groups[q]` consecutive groups of K draws,
    numbered from `first_group[q]`, under the key `fold(key, owners[q])`. Where `reject` holds, no
    draw may be an item of the user's training history. `targets_N` holds the targets of the steps;
    the step of owner q has `targets_N[step_begin[q] : step_end[q]]`, its own are
    `targets_N[own_begin[q] : own_end[q]]`.
    """

    key: np.uint64
    reject: bool
    owners: np.ndarray
    groups: np.ndarray
    first_group: np.ndarray
    targets_N: np.ndarray
    step_begin: np.ndarray
    step_end: np.ndarray
    own_begin: np.ndarray
    own_end: np.ndarray


Draw = Callable[[Places, np.ndarray], None]


class Source(Protocol):
    """Any source of negatives."""

    @property
    def exponent(self) -> float | None:
        """Items are drawn in proportion to popularity to this power (0: uniformly).

        None where that is not the law. Then `log_shares(catalog)` gives the logarithm of each
        item's probability, float32 (V,).
        """
        ...

    def bind(self, catalog: Catalog, *, reject: bool) -> Draw:
        """The function that fills an int32 array (groups, K) with ids; it releases the GIL.

        Raises DataError where rejection would leave some user nothing to draw.
        """
        ...


def nothing_left(user: int, wanted: int) -> DataError:
    """The error of a source that rejects, where a user has all that it draws from."""
    return DataError(
        f"user {user} has all {wanted} items that negatives come from, so none is left",
        "set negatives.reject = false, or use a data set with more items",
    )
