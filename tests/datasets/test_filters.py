"""Laws of the k-core."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from scalelab.core.errors import DataError
from scalelab.datasets.filters import keep_core
from scalelab.datasets.interactions import Interactions
from tests.datasets.conftest import interactions_of, timed_histories


def plain_core(histories: list[list[int]], items: int, users: int) -> list[list[int]]:
    """Drop one offender at a time until there is none."""
    while True:
        counts = Counter(i for h in histories for i in h)
        rare = next((i for i, n in counts.items() if n < items), None)
        short = next((n for n, h in enumerate(histories) if len(h) < max(users, 1)), None)
        if rare is not None:
            histories = [[i for i in h if i != rare] for h in histories]
        elif short is not None:
            histories = histories[:short] + histories[short + 1 :]
        else:
            return histories


@given(timed_histories(), st.integers(0, 4), st.integers(0, 4))
def test_it_is_the_largest_core_in_the_same_order(whole: Interactions, items: int, users: int):
    assume(items > 1 or users > 1)
    histories = [whole.histories[u].tolist() for u in range(whole.num_users)]
    expected = plain_core(histories, items, users)
    if not expected:
        with pytest.raises(DataError, match="no interaction is left"):
            keep_core(whole, min_item_count=items, min_user_count=users)
        return
    core = keep_core(whole, min_item_count=items, min_user_count=users)
    names = np.array([0, *sorted({i for h in expected for i in h})])
    found = [names[core.histories[u]].tolist() for u in range(core.num_users)]
    assert found == expected
    assert core.num_items == len(names) - 1
    assert core.dropped.get("interactions of dropped items or users", 0) == (
        whole.num_interactions - core.num_interactions
    )
    assert core.times is not None
    assert len(core.times) == len(core.item_ids)


def test_times_stay_with_their_items():
    whole = interactions_of([[1, 2, 1], [1, 3]], [[10, 20, 30], [40, 50]])
    core = keep_core(whole, min_item_count=2, min_user_count=1)
    assert core.times is not None
    assert core.times.tolist() == [10, 30, 40]


def test_minima_of_one_change_nothing():
    whole = interactions_of([[1], [5]])
    assert keep_core(whole, min_item_count=1, min_user_count=1) is whole
