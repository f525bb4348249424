"""The bootstrap agrees with scipy's, and Holm's correction with an example worked by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from scalelab.findings.bootstrap import DRAWS, LEVEL, adjusted, draws_for, paired_bootstrap
from scalelab.findings.user_ranks import gains


def simulated(seed, number, better):
    """Gains of two models on the same users: of `better` of them the first knows more."""
    rng = np.random.default_rng(seed)
    first = rng.integers(1, 40, number)
    second = np.where(rng.random(number) < 0.5, first, rng.integers(1, 40, number))
    second = np.where(rng.random(number) < better, second + 8, second)
    return gains(first), gains(second)


def test_the_gain_of_a_rank_is_its_part_of_ndcg_at_10():
    found = gains(np.array([1, 2, 3, 10, 11, 0], dtype=np.uint32))
    assert found == pytest.approx([1, 1 / math.log2(3), 0.5, 1 / math.log2(11), 0, 0])


@pytest.mark.parametrize("number", [300, 3000])
@pytest.mark.parametrize("better", [0.0, 0.1])
def test_interval_and_p_value_are_those_of_scipy(number, better):
    first, second = simulated(number, number, better)
    ours = paired_bootstrap(first, second)

    def difference(a, b, axis):
        return (a - b).mean(axis=axis)

    theirs = stats.bootstrap(
        (first, second),
        difference,
        paired=True,
        method="percentile",
        n_resamples=DRAWS,
        rng=np.random.default_rng(1),
    )
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.mean == pytest.approx(difference(first, second, 0), abs=1e-12)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.06 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.06 * width)
    assert ours.p_value == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=0.03)
    assert (ours.p_value < 0.05) == (ours.low > 0 or ours.high < 0)


def test_it_finds_no_more_differences_than_there_are_by_chance():
    found = [paired_bootstrap(*simulated(seed, 200, 0.0), draws=500).p_value for seed in range(400)]
    assert 0.02 <= np.mean(np.array(found) < 0.05) <= 0.085
    assert np.mean(found) == pytest.approx(0.5, abs=0.05)


def test_the_same_seed_gives_the_same_and_swapping_only_turns_the_sign():
    first, second = simulated(3, 500, 0.05)
    one = paired_bootstrap(first, second)
    assert one == paired_bootstrap(first, second)
    other = paired_bootstrap(second, first)
    assert other.mean == pytest.approx(-one.mean)
    # Two shares of 3,000 drawings differ by chance, with a standard error of about 0.02.
    assert other.p_value == pytest.approx(one.p_value, abs=0.06)


def test_equal_figures_are_no_difference_and_a_plain_one_is():
    figures = gains(np.arange(1, 500) % 15)
    assert paired_bootstrap(figures, figures).p_value == 1.0
    assert paired_bootstrap(figures + 0.1, figures).p_value < 0.001


def test_a_plain_tie_needs_few_drawings_and_what_is_near_a_level_needs_all():
    close, tie = simulated(1, 300, 0.3), simulated(6, 300, 0.3)
    assert 0.03 < paired_bootstrap(*close).p_value < 0.1
    assert paired_bootstrap(*close, enough=500) == paired_bootstrap(*close)
    few = paired_bootstrap(*tie, enough=500)
    assert few.p_value > 0.5
    assert few == paired_bootstrap(*tie, draws=500)


def test_very_many_distinct_differences_keep_mean_and_spread():
    rng = np.random.default_rng(5)
    first, second = rng.random(20_000), rng.random(20_000) + 0.004
    ours = paired_bootstrap(first, second)
    expected = stats.ttest_rel(first, second)
    assert ours.mean == pytest.approx((first - second).mean(), abs=1e-9)
    half = 1.96 * (first - second).std() / math.sqrt(20_000)
    assert ours.high - ours.mean == pytest.approx(half, rel=0.08)
    assert ours.p_value == pytest.approx(expected.pvalue, abs=0.03)


def test_holm_corrects_step_by_step():
    assert adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert adjusted([0.5, 0.9]) == [1.0, 1.0]
    assert adjusted([]) == []


def test_fifty_comparisons_can_still_find_a_difference():
    clear = paired_bootstrap(np.ones(50) + np.arange(50) % 2, np.zeros(50))
    assert 0 < clear.p_value < 2 / (DRAWS + 1)
    assert max(adjusted([clear.p_value] * 50)) < LEVEL
    few = paired_bootstrap(np.ones(5), np.zeros(5))
    assert few.p_value == 2 / (DRAWS + 1)


@pytest.mark.parametrize("number", [76, 200, 300, 10_000])
def test_so_many_comparisons_can_still_find_a_difference(number):
    """Up to 300 by more drawings; a clear difference always."""
    draws = draws_for(number)
    assert DRAWS <= draws <= 12_000
    found = paired_bootstrap(*simulated(2, 300, 0.5), draws=draws, enough=DRAWS)
    assert found.p_value == 2 / (draws + 1)
    assert (adjusted([found.p_value] * number)[0] < LEVEL) == (number <= 300)
    clear = paired_bootstrap(np.ones(90) + np.arange(90) % 2, np.zeros(90), draws=draws)
    assert adjusted([clear.p_value] * number)[0] < LEVEL
