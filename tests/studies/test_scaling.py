"""Lengths for another number of users keep their distribution."""

import numpy as np
import pytest

from scalelab.core.errors import DataError
from scalelab.datasets.load import LengthsOnly
from scalelab.studies.scaling import scaled


def lengths(train, test):
    return LengthsOnly(
        train=np.array(train),
        valid=np.array(train),
        test=np.array(test),
        num_items=10,
        num_users=len(train),
        num_interactions=sum(train),
        num_eval_users=len(test),
        test_whole=np.array(test) + 1,
        test_untrained=np.full(len(test), 2),
        has_clock=False,
        has_times=False,
    )


@pytest.mark.parametrize(
    ("users", "train"),
    [
        (2, [1, 5]),
        (4, [1, 2, 5, 9]),
        (8, [1, 1, 2, 2, 5, 5, 9, 9]),
        (6, [1, 1, 2, 5, 5, 9]),
    ],
)
def test_users_are_taken_evenly(users, train):
    found = scaled(lengths([1, 2, 5, 9], [3, 4]), num_users=users)
    assert found.train.tolist() == train
    assert found.num_users == users
    assert found.num_interactions == round(17 * users / 4)
    assert len(found.test) == users // 2
    assert found.ahead(0, 2)["ahead-2"].tolist() == found.test.tolist()
    assert found.num_items == 10


def test_items_change_nothing_else():
    data = lengths([1, 2, 5], [3])
    found = scaled(data, num_items=2_000_000)
    assert found.num_items == 2_000_000
    assert found.train is data.train
    assert found.num_users == 3


def test_the_evaluated_users_keep_their_limit():
    assert scaled(lengths([5] * 4, [5] * 4), num_users=400, max_eval_users=30).num_eval_users == 30
    assert scaled(lengths([5] * 4, [5] * 4), num_users=400).num_eval_users == 400


def test_no_users_are_refused():
    with pytest.raises(DataError, match="no users"):
        scaled(lengths([], []), num_users=4)
