"""Draw random numbers from a key and a counter.

A number depends on these two alone, not on the order or the thread of the draws. The generator is
SplitMix64 (Steele, Lea & Flood, 2014): its finaliser applied to key + counter * GOLDEN. numba
renews a cached kernel only when the kernel's own file changes: after a change here, clear
`__pycache__`.
"""

import numpy as np
from numba import njit

__all__ = ["GOLDEN", "below", "fold", "mix", "permute", "stream_key"]

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MASK = (1 << 64) - 1


def stream_key(*words: int) -> np.uint64:
    """A key of its own for every tuple of integers (seed, epoch, ...)."""
    key = 0
    for word in words:
        key = _mix_int((key + (word + 1) * int(GOLDEN)) & _MASK)
    return np.uint64(key)


def _mix_int(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


@njit(nogil=True, cache=True)
def mix(x):
    """64 bits, each of which depends on every bit of `x` (uint64); a bijection."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@njit(nogil=True, cache=True)
def fold(key, counter):
    """The number at `counter` (integer) of the stream `key` (uint64); may be a key in its turn."""
    return mix(key + np.uint64(counter) * GOLDEN)


@njit(nogil=True, cache=True)
def below(x, n):
    """`x` (uniform 64 bits) scaled to 0..n-1 (uint64), n < 2^32: floor(x * n / 2^64).

    Lemire's multiply-shift (2019) without its rejection: each probability differs from 1/n by at
    most 2^-64, a relative bias of n / 2^64.
    """
    return ((x >> _HALF) * n + (((x & _LOW) * n) >> _HALF)) >> _HALF


@njit(nogil=True, cache=True)
def permute(values, key):
    """Shuffle `values` in place (Fisher-Yates)."""
    for i in range(len(values) - 1, 0, -1):
        j = below(fold(key, i), np.uint64(i + 1))
        values[i], values[j] = values[j], values[i]
