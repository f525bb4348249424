"""Popularity draws follow counts of the training histories to a power."""

import numpy as np
import pytest

from scalelab.batches.loader import Loader
from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import BatchSpec, NegativesSpec

HISTORIES = [[1] * 50 + [2] * 20 + [4], [4, 5, 5, 5], [1, 2], [6, 7, 7, 9, 9, 9, 9]]
COUNTS = np.bincount(np.concatenate(HISTORIES), minlength=11)


def draw(make, sequences, num_items, **options):
    made = Loader(
        make.histories_of(sequences),
        num_items=num_items,
        batch=BatchSpec(size=10, max_len=5),
        negatives=(NegativesSpec(name="popularity", per="sequence", **options),),
        seed=5,
    )
    batch = made.batch(0, 0)
    (source,) = batch.negatives
    return dict(zip(batch.users_S.tolist(), source.ids.numpy(), strict=True)), source.exponent


def assert_follows(ids, weights):
    counts = np.bincount(ids.ravel(), minlength=len(weights))
    expected = ids.size * weights / weights.sum()
    assert (counts[expected == 0] == 0).all()
    some = expected > 0
    chi_square = ((counts - expected)[some] ** 2 / expected[some]).sum()
    freedom = some.sum() - 1
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0, 2.0])
def test_shares_are_counts_to_the_exponent(make, exponent):
    ids, named = draw(make, HISTORIES, 10, num_negatives=100_000, exponent=exponent)
    weights = COUNTS.astype(float) ** exponent
    weights[0] = 0
    assert named == exponent
    assert_follows(np.stack(list(ids.values())), weights)


def test_shares_of_many_items_are_their_counts(make):
    rng = np.random.default_rng(0)
    items = np.minimum(rng.zipf(1.3, 20_000), 3000)
    ids, _ = draw(make, [items.tolist()], 3000, num_negatives=3_000_000)
    counts = np.bincount(items, minlength=3001).astype(float)
    drawn = np.bincount(ids[0], minlength=3001)
    assert (drawn[counts == 0] == 0).all()
    often = counts > 2
    expected = len(ids[0]) * counts / counts.sum()
    assert (np.abs(drawn - expected)[often] < 6 * np.sqrt(expected[often])).all()


def test_rejection_keeps_the_shares_of_what_is_left(make):
    ids, _ = draw(make, HISTORIES, 10, num_negatives=100_000, reject=True)
    for user, history in enumerate(HISTORIES):
        weights = COUNTS.astype(float)
        weights[history] = 0
        assert_follows(ids[user], weights)


def test_a_user_who_has_nearly_all_weight_gets_the_rest(make):
    """The user owns all but 3 in 10,000 of the draws, which ends the repeating."""
    sequences = [[1, 2] * 5000, [3, 4, 4]]
    ids, _ = draw(make, sequences, 4, num_negatives=30_000, reject=True)
    assert_follows(ids[0], np.array([0, 0, 0, 1.0, 2.0]))


def test_a_user_who_has_every_item_that_occurs_is_refused(make):
    with pytest.raises(DataError, match="user 0 has all 3 items"):
        draw(make, [[1, 2, 3], [1, 2]], 10, num_negatives=1, reject=True)


def test_a_power_below_nought_is_refused(make):
    for exponent in (-0.5, float("nan"), float("inf")):
        with pytest.raises(SpecError, match="popularity needs a number"):
            draw(make, HISTORIES, 10, num_negatives=1, exponent=exponent)
