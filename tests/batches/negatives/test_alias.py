"""The alias table holds the probabilities of the weights, item by item."""

import numpy as np
import pytest

from scalelab.batches.negatives import _alias  # noqa: PLC2701

DRAW = np.random.default_rng(3)
WEIGHTS = {
    "even": np.ones(7),
    "two items": np.array([1.0, 3.0]),
    "some never": np.array([0.0, 5.0, 0.0, 1.0, 0.0]),
    "one above all": np.array([1e-12, 1e12, 1e-12, 1.0]),
    "powers": DRAW.integers(1, 10_000, 500).astype(float) ** 0.75,
    "with rounding": DRAW.random(1001) * 1e-300,
    "one item": np.array([4.0]),
}


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_columns_hold_each_items_share_of_the_weights(weights):
    cells = np.empty(len(weights), np.uint64)
    _alias._fill_alias_cells(np.concatenate([[0.0], weights]), cells)
    keeps = (cells >> np.uint64(32)).astype(float) / 2**32
    aliases = (cells & np.uint64(0xFFFFFFFF)).astype(int)
    found = np.bincount(aliases, weights=1 - keeps, minlength=len(weights) + 1)[1:] + keeps
    np.testing.assert_allclose(found / len(weights), weights / weights.sum(), rtol=0, atol=2.0**-31)
    # A draw compares 32 random bits with what a column keeps: below, never at it.
    assert (keeps[weights == 0] == 0).all()
    assert not np.isin(aliases[keeps < 1 - 2**-31], np.flatnonzero(weights == 0) + 1).any()


def test_random_bits_point_at_columns_from_the_first_to_the_last():
    cells = np.array([_alias._cell(1.0, i) for i in range(5)], np.uint64)
    bits = np.array([0, 2**64 // 5 - 1, 2**64 // 5 + 1, 2**63, 2**64 - 1], np.uint64)
    assert [int(_alias._pick(x, cells)) for x in bits] == [1, 1, 2, 3, 5]


def test_below_what_a_column_keeps_is_its_item_and_above_it_the_alias():
    cells = np.array([_alias._cell(0.25, 1), _alias._cell(1.0, 1)], np.uint64)
    quarter = 2**64 // 8  # of the first of two columns
    assert int(_alias._pick(np.uint64(quarter - 2**33), cells)) == 1
    assert int(_alias._pick(np.uint64(quarter + 2**33), cells)) == 2


def test_what_is_left_is_drawn_by_its_weights():
    weights = np.array([0.0, 1.0, 2.0, 0.0, 3.0, 4.0])
    owned = np.zeros(1, np.uint64)
    owned[0] = 1 << 2  # item 2
    bits = (np.arange(800, dtype=np.uint64) << np.uint64(54)) // np.uint64(25) * np.uint64(32)
    found = [int(_alias._choose_among_rest(x, weights, owned)) for x in bits]
    counts = np.bincount(found, minlength=6)
    np.testing.assert_allclose(counts, [0, 100, 0, 0, 300, 400], atol=1)
