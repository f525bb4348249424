"""A time is found by its place without sorting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.datasets.nth_time import count_before, nth_time

LOWEST, HIGHEST = -(2**63), 2**63 - 1


@given(st.lists(st.integers(LOWEST, HIGHEST) | st.integers(-3, 3), min_size=1), st.data())
def test_it_is_the_one_at_its_place_after_sorting(numbers: list[int], data: st.DataObject) -> None:
    times = np.array(numbers, dtype=np.int64)
    place = data.draw(st.integers(0, len(times) - 1))
    assert nth_time(times, place) == sorted(numbers)[place]
    first = data.draw(st.sampled_from(numbers))
    assert count_before(times, first) == sum(number < first for number in numbers)


def test_a_place_that_is_not_there_is_refused() -> None:
    with pytest.raises(IndexError, match="place 3 of 3 times"):
        nth_time(np.arange(3), 3)
