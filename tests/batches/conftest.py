"""Histories to batch, drawn at random."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import strategies as st

from scalelab.datasets.interactions import Histories


def histories_of(sequences):
    """Histories as a split leaves them: slices of one array, with held-out items in between."""
    items = np.concatenate([np.array([*s, 1], np.int32) for s in sequences])
    ends = np.cumsum([len(s) + 1 for s in sequences], dtype=np.int64) - 1
    starts = ends - np.array([len(s) for s in sequences], np.int64)
    return Histories(item_ids=items, starts=starts, ends=ends)


@st.composite
def problems(draw):
    """Histories with at least two users who have two items, and settings to batch them with."""
    num_items = draw(st.integers(8, 30))
    sequence = st.lists(st.integers(1, num_items), max_size=14)
    sequences = draw(st.lists(sequence, max_size=25))
    for _ in range(2):
        first_two = draw(st.lists(st.integers(1, num_items), min_size=2, max_size=2))
        sequences.insert(draw(st.integers(0, len(sequences))), first_two)
    return SimpleNamespace(
        sequences=sequences,
        histories=histories_of(sequences),
        num_items=num_items,
        max_len=draw(st.integers(1, 10)),
        size=draw(st.integers(2, 12)),
        seed=draw(st.integers(0, 1000)),
        epoch=draw(st.integers(0, 3)),
    )


@pytest.fixture(scope="session")
def make():
    """The helpers of this file, for tests in any folder."""
    return SimpleNamespace(histories_of=histories_of, problems=problems)
