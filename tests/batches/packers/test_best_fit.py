"""Longest first into the tightest row: as many rows as the plain search, and few."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.batches.packers.best_fit import BestFit


def plain_best_fit_rows(lengths, max_len):
    used = []
    for n in sorted(lengths, reverse=True):
        fitting = [(max_len - u, r) for r, u in enumerate(used) if u + n <= max_len]
        if fitting:
            used[min(fitting)[1]] += n
        else:
            used.append(n)
    return sorted(used)


@given(st.lists(st.integers(1, 10), min_size=1, max_size=60), st.integers(10, 15))
@settings(deadline=None)
def test_rows_are_filled_as_by_best_fit_decreasing(lengths, max_len):
    array = np.array(lengths, np.int32)
    row, _, num_rows = BestFit().pack(array, max_len=max_len, size=len(array))
    filled = np.bincount(row, weights=array, minlength=num_rows[0]).astype(int)
    assert sorted(filled) == plain_best_fit_rows(lengths, max_len)
