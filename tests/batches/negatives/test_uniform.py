"""Uniform draws: even over the catalog, and over what rejection leaves."""

import numpy as np
import pytest

from scalelab.batches.loader import Loader
from scalelab.core.errors import DataError
from scalelab.core.spec import BatchSpec, NegativesSpec


def ids_by_user(make, sequences, num_items, **options):
    made = Loader(
        make.histories_of(sequences),
        num_items=num_items,
        batch=BatchSpec(size=len(sequences), max_len=5),
        negatives=(NegativesSpec(name="uniform", per="sequence", **options),),
        seed=11,
    )
    batch = made.batch(0, 0)
    return dict(zip(batch.users_S.tolist(), batch.negatives[0].ids.numpy(), strict=True))


def assert_even(ids, items):
    counts = np.bincount(ids.ravel(), minlength=max(items) + 1)
    assert counts.sum() == counts[list(items)].sum()
    expected = ids.size / len(items)
    chi_square = ((counts[list(items)] - expected) ** 2 / expected).sum()
    freedom = len(items) - 1
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


def test_every_item_is_as_likely(make):
    ids = np.stack(list(ids_by_user(make, [[1, 2]] * 100, 97, num_negatives=10_000).values()))
    assert_even(ids, range(1, 98))
    # Neighbouring draws and neighbouring users are independent: pairs are even too.
    pairs = ids[:, :-1].astype(np.int64) % 16 * 16 + ids[:, 1:] % 16
    table = np.bincount(pairs.ravel(), minlength=256).reshape(16, 16)
    expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
    assert abs(((table - expected) ** 2 / expected).sum() - 225) < 5 * np.sqrt(450)


def test_every_item_left_is_as_likely(make):
    mine = [1, 5, 6, 64, 65, 97]
    ids = ids_by_user(make, [mine, [2, 3]], 97, num_negatives=200_000, reject=True)
    assert_even(ids[0], sorted(set(range(1, 98)) - set(mine)))
    assert_even(ids[1], sorted(set(range(1, 98)) - {2, 3}))


def test_few_items_left_among_many_are_as_likely(make):
    """Nearly every draw is repeated until the source looks at what is left."""
    history = list(range(1, 3999))
    ids = ids_by_user(make, [history, [1, 2]], 4000, num_negatives=2000, reject=True)
    assert_even(ids[0], [3999, 4000])


def test_a_user_who_has_every_item_is_refused(make):
    with pytest.raises(DataError, match="user 1 has all 6 items") as caught:
        ids_by_user(make, [[1, 2], [1, 2, 3, 3, 4, 5, 6]], 6, num_negatives=1, reject=True)
    assert "reject" in caught.value.hint


def test_repeats_are_no_further_items(make):
    ids = ids_by_user(make, [[1, 2, 3, 3, 2, 1, 2]], 4, num_negatives=20, reject=True)
    assert set(ids[0]) == {4}
