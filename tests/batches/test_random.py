"""Counter-based numbers: a permutation is one, a stream is even, keys differ."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from scalelab.batches._random import below, fold, permute, stream_key  # noqa: PLC2701


@njit
def histogram(key, n, draws):
    counts = np.zeros(n, np.int64)
    for i in range(draws):
        counts[below(fold(key, i), np.uint64(n))] += 1
    return counts


def deviations(counts, expected):
    """How many standard deviations chi-square lies off its mean."""
    chi_square = ((counts - expected) ** 2 / expected).sum()
    freedom = len(counts) - 1
    return (chi_square - freedom) / np.sqrt(2 * freedom)


@given(st.integers(0, 300), st.integers(0, 2**63))
@settings(deadline=None)
def test_a_permutation_holds_everything_once(n, seed):
    values = np.arange(n, dtype=np.int32)
    permute(values, stream_key(seed))
    assert sorted(values) == list(range(n))


def test_every_value_is_as_likely_at_every_place():
    counts = np.zeros((6, 6))
    for seed in range(6000):
        values = np.arange(6, dtype=np.int32)
        permute(values, stream_key(seed, 3))
        counts[np.arange(6), values] += 1
    assert abs(deviations(counts.ravel(), 1000)) < 5


def test_a_stream_is_even():
    for n in (2, 7, 1000):
        assert abs(deviations(histogram(stream_key(5, n), n, 1_000_000), 1_000_000 / n)) < 5


def test_neighbouring_streams_are_independent():
    """The same counters under keys that differ by one word agree as often as chance has it."""
    n, draws = 100, 100_000
    for other in (
        stream_key(1, 3),
        stream_key(2, 2),
        stream_key(1, 2, 0),
        fold(stream_key(1, 2), 0),
    ):
        same = sum_of_agreements(stream_key(1, 2), np.uint64(other), n, draws)
        assert abs(same - draws / n) < 5 * np.sqrt(draws / n)


@njit
def sum_of_agreements(key, other, n, draws):
    same = 0
    for i in range(draws):
        same += below(fold(key, i), np.uint64(n)) == below(fold(other, i), np.uint64(n))
    return same


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=4))
@settings(deadline=None)
def test_a_key_depends_on_every_word_and_on_their_order(words):
    keys = {int(stream_key(*words)), int(stream_key(*words, 0))}
    for i in range(len(words)):
        keys.add(int(stream_key(*words[:i], words[i] + 1, *words[i + 1 :])))
    assert len(keys) == 2 + len(words)


def test_numbers_stay_as_they_are():
    """Stored results rest on these; whoever changes them raises RESULTS_VERSION."""
    values = np.arange(8, dtype=np.int32)
    permute(values, stream_key(0, 0, 0))
    assert int(stream_key(0)) == 16294208416658607535  # SplitMix64's first number for seed 0
    assert values.tolist() == [6, 4, 0, 7, 3, 1, 5, 2]
