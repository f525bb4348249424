"""Find the time at a place in ascending order, in memory that does not grow with their number."""

import numpy as np
from numba import njit

__all__ = ["count_before", "nth_time"]


def nth_time(times: np.ndarray, place: int) -> int:
    """`np.sort(times)[place]`. Times may be memory-mapped and larger than memory."""
    if not 0 <= place < len(times):
        raise IndexError(f"place {place} of {len(times)} times")
    return int(_nth(times, place))


@njit(nogil=True, cache=True)
def count_before(times, first):
    """How many times are before `first`."""
    count = 0
    for time in times:
        count += time < first
    return count


@njit(nogil=True, cache=True)
def _nth(times, place):
    """Radix selection: each walk over all times decides 16 bits, the highest first."""
    sign, digit_bits, mask = np.uint64(1) << np.uint64(63), np.uint64(16), np.uint64(0xFFFF)
    found = np.uint64(0)
    for walk in range(4):
        shift = np.uint64(48 - 16 * walk)
        counts = np.zeros(65_536, np.int64)
        for time in times:
            # With the sign bit turned, unsigned numbers are in the order of the times.
            key = np.uint64(time) ^ sign
            # A shift by 64 bits is not defined: the first walk counts all times.
            if walk == 0 or key >> (shift + digit_bits) == found:
                counts[(key >> shift) & mask] += 1
        digit = 0
        while counts[digit] <= place:
            place -= counts[digit]
            digit += 1
        found = (found << digit_bits) | np.uint64(digit)
    return np.int64(found ^ sign)
