"""Say which sequences an epoch has: one a user, or one for each prefix of each history.

A sample is a user and an end: the items of the history before that end, at most `max_len` of them,
are the inputs. Nothing else is held for it, so that all prefixes take 8 bytes a target.
"""

from typing import Any, NamedTuple

import numpy as np

from scalelab.batches._random import permute

__all__ = ["Samples", "Some"]


class Some(NamedTuple):
    """Samples in some order: user, number of inputs, and how many items of the history come after
    those that the sample uses (None: none); all int32.
    """

    users: np.ndarray
    counts: np.ndarray
    after: np.ndarray | None


class Samples:
    """All samples of an epoch, from the lengths of the histories (one entry per user).

    A user with at least two items has one sample, the whole history; with `every_prefix` one for
    each item but the first, which is its target. `shifted` says that the target is the item after
    the last input; else it is one of the inputs.
    """

    def __init__(
        self, lengths: np.ndarray, *, max_len: int, shifted: bool = True, every_prefix: bool = False
    ) -> None:
        self.max_len = max_len
        self._shift = int(shifted)
        self._lengths = lengths
        self.users = np.flatnonzero(lengths >= 2).astype(np.int32)
        self._after: np.ndarray | None = None
        if every_prefix:
            number = lengths[self.users] - 1
            total = int(number.sum())
            ends = np.cumsum(number).astype(_dtype_for(total))
            self.users = np.repeat(self.users, number)
            # The last prefix of a user has nothing after it, the one before it one item, ...
            after = np.repeat(ends, number)
            after -= np.arange(1, total + 1, dtype=after.dtype)
            self._after = after.astype(np.int32, copy=False)

    def __len__(self) -> int:
        return len(self.users)

    @property
    def num_bytes(self) -> int:
        """What the index of all prefixes takes; 0 where there is one sample a user."""
        return 0 if self._after is None else self.users.nbytes + self._after.nbytes

    def shuffled(self, key: np.uint64) -> Some:
        """All samples in an order that depends on `key` alone."""
        order = np.arange(len(self), dtype=_dtype_for(len(self)))
        permute(order, key)
        return self._at(order)

    def longest(self, size: int) -> Some:
        """Those with most inputs."""
        order = np.argsort(-self.counts, kind="stable")
        return self._at(order[:size])

    @property
    def counts(self) -> np.ndarray:
        """Number of inputs of every sample, int32."""
        return self._counts(self.users, self._after)

    def _at(self, places: np.ndarray) -> Some:
        users = self.users[places]
        after = None if self._after is None else self._after[places]
        return Some(users, self._counts(users, after), after)

    def _counts(self, users: np.ndarray, after: np.ndarray | None) -> np.ndarray:
        inputs = self._lengths[users] - self._shift
        if after is not None:
            inputs = inputs - after
        return np.minimum(inputs, self.max_len).astype(np.int32)


def _dtype_for(number: int) -> type[np.integer[Any]]:
    return np.int32 if number < 2**31 else np.int64
