"""A key and a counter in, random numbers out: the same whatever the order or the thread that asks.

`mix` is the finaliser of SplitMix64 (Steele, Lea & Flood, 2014), applied to key + counter * GOLDEN. numba renews a
cached kernel only when the kernel's own file changes: after a change here, clear `__pycache__`.
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
    """The number at `counter` (integer) of the stream `key` (uint64); also a key for a stream below it."""
    return mix(key + np.uint64(counter) * GOLDEN)


@njit(nogil=True, cache=True)
def below(x, n):
    """`x` (uniform 64 bits) scaled to 0..n-1, n < 2^32: floor(x * n / 2^64) (Lemire, 2019, not rejecting).

    Probabilities differ from 1/n by at most 2^-64 each, a relative bias of n / 2^64. The low half's
    product is added without its own low bits, which moves no result by more than that.
    """
    return ((x >> _HALF) * n + (((x & _LOW) * n) >> _HALF)) >> _HALF


@njit(nogil=True, cache=True)
def permute(values, key):
    """Shuffle `values` in place (Fisher-Yates)."""
    for i in range(len(values) - 1, 0, -1):
        j = below(fold(key, i), np.uint64(i + 1))
        values[i], values[j] = values[j], values[i]
