"""Who takes part in an epoch, and what is refused; shapes are tested with the loader."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.batches.steps import Steps
from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import BatchSpec


@given(st.lists(st.integers(0, 30), min_size=1, max_size=50), st.integers(1, 60))
@settings(deadline=None)
def test_every_user_with_two_items_takes_part_once(lengths, size):
    lengths = np.array([2, *lengths])
    steps = Steps(lengths, batch=BatchSpec(size=size, max_len=10), seed=1)
    users = steps.plan(4).users
    assert sorted(users) == np.flatnonzero(lengths >= 2).tolist()
    sequences = [steps.shape(4, t).num_sequences for t in range(steps.num_steps)]
    assert sum(sequences) == len(users)
    assert sequences[:-1] == [size] * (steps.num_steps - 1)


def test_an_old_epoch_comes_out_the_same_again():
    steps = Steps(np.arange(100), batch=BatchSpec(size=7), seed=1)
    first = steps.plan(0).users.copy()
    for epoch in range(1, 6):
        assert not np.array_equal(steps.plan(epoch).users, first)
    assert np.array_equal(steps.plan(0).users, first)


def test_no_history_with_a_target_is_refused():
    with pytest.raises(DataError, match="two items"):
        Steps(np.array([0, 1, 1]), batch=BatchSpec(), seed=0)


def test_unknown_names_are_refused():
    with pytest.raises(SpecError, match="worst_fit"):
        Steps(np.array([3]), batch=BatchSpec(packer="worst_fit"), seed=0)
    with pytest.raises(SpecError, match="middle"):
        Steps(np.array([3]), batch=BatchSpec(), seed=0, train_on="middle")


def test_a_step_that_does_not_exist_has_no_shape():
    steps = Steps(np.array([3, 3, 3]), batch=BatchSpec(size=2), seed=0)
    for ask in (
        lambda: steps.shape(0, 2),
        lambda: steps.shape(0, -1),
        lambda: steps.largest_step(0, 2),
    ):
        with pytest.raises(IndexError):
            ask()
