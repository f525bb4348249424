"""The fast search finds the row that the plain one finds."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.batches.packers.first_fit import FirstFit


def plain_first_fit(lengths, max_len):
    used, places = [], []
    for n in lengths:
        r = next((r for r, u in enumerate(used) if u + n <= max_len), len(used))
        if r == len(used):
            used.append(0)
        places.append((r, used[r]))
        used[r] += n
    return places


@given(st.lists(st.integers(1, 10), min_size=1, max_size=60), st.integers(10, 15))
@settings(deadline=None)
def test_it_is_first_fit(lengths, max_len):
    array = np.array(lengths, np.int32)
    row, column, _ = FirstFit().pack(array, max_len=max_len, size=len(array))
    assert list(zip(row, column, strict=True)) == plain_first_fit(lengths, max_len)
