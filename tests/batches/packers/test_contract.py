"""Every packer: all sequences placed, no overlap, no row too long, steps independent."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.core import plugins

PACKERS = plugins.available("packers")


@st.composite
def problems(draw):
    max_len = draw(st.integers(1, 12))
    lengths = draw(st.lists(st.integers(1, max_len), min_size=1, max_size=40))
    return np.array(lengths, np.int32), max_len, draw(st.integers(1, 45))


def pack(name, lengths, max_len, size):
    return plugins.load("packers", name)().pack(lengths, max_len=max_len, size=size)


def steps_of(lengths, size):
    return [slice(i, min(i + size, len(lengths))) for i in range(0, len(lengths), size)]


@pytest.mark.parametrize("name", PACKERS)
@given(problem=problems())
@settings(deadline=None)
def test_every_position_has_a_place_of_its_own(name, problem):
    lengths, max_len, size = problem
    row, column, num_rows = pack(name, lengths, max_len, size)
    assert row.dtype == column.dtype == np.int32
    for step, rows in zip(steps_of(lengths, size), num_rows, strict=True):
        taken = np.zeros((rows, max_len), int)
        for r, c, n in zip(row[step], column[step], lengths[step], strict=True):
            assert 0 <= r < rows
            assert 0 <= c <= max_len - n
            taken[r, c : c + n] += 1
        assert taken.max() == 1
        assert taken.any(axis=1).all(), "a row is empty"


@pytest.mark.parametrize("name", PACKERS)
@given(problem=problems())
@settings(deadline=None)
def test_a_step_is_packed_as_if_it_were_alone(name, problem):
    lengths, max_len, size = problem
    together = pack(name, lengths, max_len, size)
    for i, step in enumerate(steps_of(lengths, size)):
        alone = pack(name, lengths[step], max_len, size)
        assert np.array_equal(alone.row, together.row[step])
        assert np.array_equal(alone.column, together.column[step])
        assert alone.num_rows[0] == together.num_rows[i]


@pytest.mark.parametrize("name", PACKERS)
def test_a_step_larger_than_the_data_is_one_step(name):
    lengths = np.array([3, 1, 2], np.int32)
    assert len(pack(name, lengths, 4, 1000).num_rows) == 1
