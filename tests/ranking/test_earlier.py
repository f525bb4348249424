"""How many earlier targets there are follows from the histories, whatever number is asked for."""

import numpy as np

from scalelab.ranking.earlier import earlier_lengths


def test_positions_that_no_history_reaches_take_no_time():
    lengths = np.array([2, 5, 4])
    found = earlier_lengths(lengths, 10**12)
    assert {name: some.tolist() for name, some in found.items()} == {
        "train-1": [3, 2],
        "train-2": [2, 1],
        "train-3": [1],
    }
    assert earlier_lengths(lengths, 1).keys() == {"train-1"}
    assert earlier_lengths(np.array([], dtype=np.int64), 10**12) == {}
