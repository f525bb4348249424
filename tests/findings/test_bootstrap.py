"""The bootstrap agrees with scipy's, and Holm's correction with an example worked by hand."""

import math

import numpy as np
import pytest

from scalelab.findings.bootstrap import DRAWS, LEVEL, adjusted, draws_for, paired_bootstrap
from scalelab.findings.user_ranks import gains, gains_of_users
from scalelab.ranking.metrics import ranking_metrics


def simulated(seed, number, better):
    """Gains of two models on the same users: of `better` of them the first knows more."""
    rng = np.random.default_rng(seed)
    first = rng.integers(1, 40, number)
    second = np.where(rng.random(number) < 0.5, first, rng.integers(1, 40, number))
    second = np.where(rng.random(number) < better, second + 8, second)
    return gains(first), gains(second)


@pytest.fixture(scope="module")
def stats():
    """scipy's statistics, which take a second to import."""
    from scipy import stats

    return stats


def of_scipy(stats, samples, statistic):
    return stats.bootstrap(
        samples,
        statistic,
        paired=True,
        method="percentile",
        n_resamples=DRAWS,
        rng=np.random.default_rng(1),
    )


def test_the_gain_of_a_rank_is_its_part_of_ndcg_at_10():
    found = gains(np.array([1, 2, 3, 10, 11, 0], dtype=np.uint32))
    assert found == pytest.approx([1, 1 / math.log2(3), 0.5, 1 / math.log2(11), 0, 0])


@pytest.mark.slow
@pytest.mark.parametrize("number", [300, 3000])
@pytest.mark.parametrize("better", [0.0, 0.1])
def test_interval_and_p_value_are_those_of_scipy(number, better, stats):
    first, second = simulated(number, number, better)
    ours = paired_bootstrap(first, second)

    def difference(a, b, axis):
        return (a - b).mean(axis=axis)

    theirs = of_scipy(stats, (first, second), difference)
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


@pytest.mark.slow
def test_very_many_distinct_differences_keep_mean_and_spread(stats):
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


def clusters(seed, number, better):
    """Sums of gains of users with one to nine lists each, alike within a user, and the numbers."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 10, number)
    users = np.repeat(np.arange(number), sizes)
    level, shift = rng.integers(1, 25, number), rng.random(number) < better
    first = np.maximum(1, level[users] + rng.integers(-3, 4, len(users)))
    turned = rng.random(number) < 0.5
    other = np.where(turned, level, rng.permutation(level))[users] + 6 * shift[users]
    sums = [np.bincount(users, gains(ranks)) for ranks in (first, np.maximum(1, other))]
    return *sums, sizes


@pytest.mark.slow
@pytest.mark.parametrize("better", [0.0, 0.15])
def test_users_are_drawn_with_all_their_lists_as_scipy_draws_them(better, stats):
    first, second, sizes = clusters(5, 400, better)
    ours = paired_bootstrap(first, second, num_lists=sizes)

    def difference(a, b, n, axis):
        return (a - b).sum(axis=axis) / n.sum(axis=axis)

    theirs = of_scipy(stats, (first, second, sizes), difference)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours.mean == pytest.approx(difference(first, second, sizes, 0), abs=1e-12)
    assert ours.low == pytest.approx(theirs.confidence_interval.low, abs=0.07 * width)
    assert ours.high == pytest.approx(theirs.confidence_interval.high, abs=0.07 * width)
    below = np.mean(theirs.bootstrap_distribution <= 0)
    assert ours.p_value == pytest.approx(2 * min(below, 1 - below), abs=0.04)


def test_lists_of_a_user_are_not_taken_as_users():
    """The same difference in each of a user's lists is one observation, not as many as lists."""
    rng = np.random.default_rng(2)
    difference, sizes = rng.normal(0, 1, 200), np.full(200, 16)
    drawn = paired_bootstrap(difference * sizes, np.zeros(200), num_lists=sizes)
    alone = paired_bootstrap(difference, np.zeros(200))
    apart = paired_bootstrap(np.repeat(difference, 16), np.zeros(3200))
    assert drawn.high - drawn.low == pytest.approx(alone.high - alone.low, rel=0.1)
    assert apart.high - apart.low < 0.35 * (drawn.high - drawn.low)


@pytest.mark.slow
def test_near_differences_taken_together_keep_the_mean_and_the_number_of_lists():
    rng = np.random.default_rng(3)
    sizes = rng.integers(1, 6, 9000)
    first, second = rng.normal(0.02, 1, 9000), rng.normal(0, 1, 9000)
    found = paired_bootstrap(first, second, num_lists=sizes)
    assert found.mean == pytest.approx((first - second).sum() / sizes.sum(), abs=1e-12)
    error = np.sqrt(((first - second - found.mean * sizes) ** 2).sum()) / sizes.sum()
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.08)


@pytest.mark.parametrize("one_list", [False, True])
@pytest.mark.parametrize("metric", ["hr@5", "recall@5", "ndcg@5", "mrr@5", "ndcg@1", "mrr@20"])
def test_gains_of_users_with_several_targets_are_the_metrics(one_list, metric):
    rng = np.random.default_rng(4)
    sizes = rng.integers(1, 8, 300)
    users = np.repeat(np.arange(300), sizes)
    # Without equal scores; ranks within a list differ.
    ranks = np.concatenate([rng.permutation(25)[:n] for n in sizes]) + 1
    missed = rng.random(len(ranks)) < 0.1
    _, _, k = metric.partition("@")
    expected = ranking_metrics(
        ranks - 1, np.ones_like(ranks), missed, (int(k),), groups=users if one_list else None
    )[metric]
    own = gains_of_users(np.where(missed, 0, ranks).astype(np.uint32), sizes, one_list, metric)
    lists = len(own.sums) if own.num_lists is None else own.num_lists.sum()
    assert len(own.sums) == 300
    assert own.sums.sum() / lists == pytest.approx(expected, abs=1e-12)
