"""Recent draws follow how lately items were taken, and their probabilities are told exactly."""

import numpy as np
import pytest

from scalelab.batches.loader import Loader
from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import BatchSpec, NegativesSpec
from scalelab.datasets.clock import Clock

DAY = 86_400
RNG = np.random.default_rng(2)
SEQUENCES = [RNG.integers(1, 12, n).tolist() for n in (30, 5, 0, 12, 2)]


def problem(make):
    """Histories, and the times of all items: a held-out one lies far behind the last trained."""
    histories = make.histories_of(SEQUENCES)
    times = np.full(len(histories.item_ids), 1_900_000_000, np.int64)
    for start, end in zip(histories.starts, histories.ends, strict=True):
        times[start:end] = 1_600_000_000 + np.sort(RNG.integers(0, 30 * DAY, end - start))
    return histories, times


def loader(histories, clock, **options):
    spec = NegativesSpec(name="recent", per="sequence", **options)
    return Loader(
        histories, num_items=14, batch=BatchSpec(size=10, max_len=5), negatives=(spec,), seed=5,
        clock=clock,
    )  # fmt: skip


def expected(histories, times, half_life):
    """From the definition, one interaction after the other."""
    taken = [
        (histories.item_ids[at], times[at])
        for start, end in zip(histories.starts, histories.ends, strict=True)
        for at in range(start, end)
    ]
    last = max(time for _, time in taken)
    weights = np.zeros(15)
    for item, time in taken:
        weights[item] += 0.5 ** ((last - time) / (DAY * half_life))
    return weights / weights.sum()


@pytest.mark.parametrize("half_life", [0.5, 7.0, 365.0])
@pytest.mark.parametrize("unit", [1, 1000])
def test_shares_halve_with_each_half_life(make, half_life, unit):
    histories, times = problem(make)
    clock = Clock(times * unit, DAY * unit)
    made = loader(histories, clock, num_negatives=200_000, half_life_days=half_life)
    wanted = expected(histories, times, half_life)
    (log_shares,) = made.log_shares()
    np.testing.assert_allclose(np.exp(log_shares[1:].astype(float)), wanted[1:], rtol=1e-5)
    ids = made.batch(0, 0).negatives[0].ids.numpy()
    counts = np.bincount(ids.ravel(), minlength=15)
    assert not counts[wanted == 0].any(), "drawn though nobody took it in training"
    some = wanted > 0
    drawn = ids.size * wanted[some]
    chi_square = ((counts[some] - drawn) ** 2 / drawn).sum()
    freedom = some.sum() - 1
    assert abs(chi_square - freedom) < 5 * np.sqrt(2 * freedom)


def test_an_item_of_long_ago_has_a_finite_logarithm(make):
    histories = make.histories_of([[1, 2, 3]])
    times = np.array([0, 10_000 * DAY, 10_000 * DAY, 0], np.int64)
    (log_shares,) = loader(
        histories, Clock(times, DAY), num_negatives=2, half_life_days=0.1
    ).log_shares()
    assert np.isfinite(log_shares[:4]).all()
    assert log_shares[1] < -600
    assert (log_shares[4:] == -np.inf).all()


def test_rejection_keeps_the_shares_of_what_is_left(make):
    histories, times = problem(make)
    made = loader(histories, Clock(times, DAY), num_negatives=100_000, reject=True)
    wanted = expected(histories, times, 7.0)
    batch = made.batch(0, 0)
    own = {u: set(SEQUENCES[u]) for u in batch.users_S.tolist()}
    some = [u for u in own if len(own[u]) < 8]
    assert some
    for user, ids in zip(batch.users_S.tolist(), batch.negatives[0].ids.numpy(), strict=True):
        if user in some:
            left = wanted * [item not in own[user] for item in range(15)]
            left /= left.sum()
            counts = np.bincount(ids, minlength=15)
            assert not counts[left == 0].any()
            off = np.abs(counts - len(ids) * left)
            assert (off < 6 * np.sqrt(len(ids) * left + 1)).all()


def test_without_a_clock_they_are_refused(make):
    with pytest.raises(DataError, match="clock times") as refused:
        loader(problem(make)[0], None, num_negatives=2)
    assert 'negatives.name = "popularity"' in refused.value.hint


def test_a_half_life_is_above_zero():
    with pytest.raises(SpecError, match="half_life_days"):
        NegativesSpec(name="recent", half_life_days=0.0).resolved()
