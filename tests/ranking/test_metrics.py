"""Ranking metrics follow their formulas, and equal scores share their ranks."""

import itertools
import math

import numpy as np
import pytest

from scalelab.datasets.evaluated import evaluated_rows
from scalelab.ranking.metrics import ranking_metrics, user_ranks


def metrics(above: int, ties: int, k: int, missed: bool | None = None) -> dict[str, float]:
    out = None if missed is None else np.array([missed])
    found = ranking_metrics(np.array([above]), np.array([ties]), out, (k,))
    return {key.partition("@")[0]: value for key, value in found.items()}


@pytest.mark.parametrize("rank", [1, 2, 7, 10])
def test_a_target_within_the_list_has_the_gain_of_its_rank(rank: int) -> None:
    found = metrics(above=rank - 1, ties=1, k=10)
    assert found == pytest.approx(
        {"hr": 1, "recall": 1, "ndcg": 1 / math.log2(1 + rank), "mrr": 1 / rank}
    )


def test_a_target_behind_the_list_has_none() -> None:
    assert metrics(above=10, ties=1, k=10) == dict.fromkeys(("hr", "recall", "ndcg", "mrr"), 0)


def test_ties_share_their_ranks() -> None:
    # The example of the module: ranks 3, 4 and 5 are equally likely, and the list ends at 4.
    found = metrics(above=2, ties=3, k=4)
    assert found["hr"] == pytest.approx(2 / 3)
    assert found["mrr"] == pytest.approx((1 / 3 + 1 / 4) / 3)
    assert found["ndcg"] == pytest.approx((1 / math.log2(4) + 1 / math.log2(5)) / 3)


def test_equal_scores_for_all_are_chance() -> None:
    assert metrics(above=0, ties=200, k=10)["hr"] == pytest.approx(10 / 200)


def test_a_target_that_was_excluded_is_a_miss() -> None:
    assert metrics(above=0, ties=1, k=10, missed=True) == dict.fromkeys(
        ("hr", "recall", "ndcg", "mrr"), 0
    )
    assert metrics(above=0, ties=1, k=10, missed=False)["hr"] == 1


def test_a_metric_is_the_mean_over_users() -> None:
    found = ranking_metrics(np.array([0, 30, 1]), np.array([1, 1, 1]), None, (1, 5))
    assert found["hr@1"] == pytest.approx(1 / 3)
    assert found["hr@5"] == pytest.approx(2 / 3)
    assert found["mrr@5"] == pytest.approx((1 + 1 / 2) / 3)


def test_users_without_a_history_are_not_evaluated_and_some_are_evenly_spaced() -> None:
    lengths = np.array([3, 0, 1, 0, 2, 5, 9])
    assert evaluated_rows(lengths).tolist() == [0, 2, 4, 5, 6]
    assert evaluated_rows(lengths, 3).tolist() == [0, 4, 6]
    assert evaluated_rows(lengths, 9).tolist() == [0, 2, 4, 5, 6]


def lists_by_force(
    above: list[int], ties: list[int], missed: list[bool], k: int
) -> dict[str, float]:
    """Means over every order of equal scores, of one list that is to find all these targets."""
    # A level of equal scores has its targets first, then the other items that share their score.
    levels = {}
    for n, (a, t, out) in enumerate(zip(above, ties, missed, strict=True)):
        if not out:
            levels.setdefault((a, t), []).append(n)
    orders = [
        [
            {target: a + 1 + place for target, place in zip(targets, places, strict=True)}
            for places in itertools.permutations(range(t), len(targets))
        ]
        for (a, t), targets in levels.items()
    ]
    sums = dict.fromkeys(("hr", "recall", "ndcg", "mrr"), 0.0)
    number = 0
    for chosen in itertools.product(*orders):
        ranks = sorted(rank for level in chosen for rank in level.values())
        found = [rank for rank in ranks if rank <= k]
        ideal = sum(1 / math.log2(1 + r) for r in range(1, min(k, len(above)) + 1))
        sums["hr"] += bool(found)
        sums["recall"] += len(found) / len(above)
        sums["ndcg"] += sum(1 / math.log2(1 + r) for r in found) / ideal
        sums["mrr"] += 1 / found[0] if found else 0
        number += 1
    return {name: value / number for name, value in sums.items()}


@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_a_list_with_several_targets_has_the_metrics_of_all_orders_of_equal_scores(k: int) -> None:
    # (above, ties, missed) of the targets of one list each.
    lists = [
        [(0, 1, False), (2, 1, False), (7, 1, False)],
        [(1, 4, False), (1, 4, False), (6, 2, False)],
        [(3, 3, False), (3, 3, False), (3, 3, False), (0, 2, False)],
        [(0, 1, True), (2, 5, False)],
        [(0, 1, True), (0, 1, True)],
        [(4, 1, False)],
        [(30, 2, False), (30, 2, False)],
    ]
    flat = [target for one in lists for target in one]
    groups = np.repeat(np.arange(len(lists)), [len(one) for one in lists])
    above, ties, missed = (np.array(column) for column in zip(*flat, strict=True))
    found = ranking_metrics(above, ties, missed, (k, 2), groups=groups)
    for name in ("hr", "recall", "ndcg", "mrr"):
        plain = [lists_by_force(*map(list, zip(*one, strict=True)), k=k)[name] for one in lists]
        assert found[f"{name}@{k}"] == pytest.approx(np.mean(plain), abs=1e-12), name


def test_lists_of_one_target_each_are_what_they_are_without_lists() -> None:
    rng = np.random.default_rng(0)
    above, ties = rng.integers(0, 30, 200), rng.integers(1, 5, 200)
    missed = rng.random(200) < 0.2
    alone = ranking_metrics(above, ties, missed, (1, 7, 20))
    listed = ranking_metrics(above, ties, missed, (1, 7, 20), groups=np.arange(200))
    assert listed == pytest.approx(alone, abs=1e-12)
    assert alone["recall@7"] == alone["hr@7"]


def test_some_users_are_taken_with_all_their_rows() -> None:
    users = np.array([2, 2, 2, 3, 5, 5, 8, 8, 9])
    lengths = np.array([1, 2, 3, 0, 1, 2, 4, 5, 1])
    assert evaluated_rows(lengths, 0, users).tolist() == [0, 1, 2, 4, 5, 6, 7, 8]
    assert evaluated_rows(lengths, 2, users).tolist() == [0, 1, 2, 8]
    assert evaluated_rows(lengths, 3, users).tolist() == [0, 1, 2, 4, 5, 8]
    assert evaluated_rows(lengths, 4, users).tolist() == [0, 1, 2, 4, 5, 6, 7, 8]


@pytest.mark.parametrize("one_list", [False, True])
def test_drawn_ranks_have_the_metrics_on_average_and_differ_within_a_list(one_list: bool) -> None:
    # Three lists: two targets of three equal scores, one alone, three of which one is missed.
    users = np.array([3, 3, 3, 5, 8, 8, 8])
    above, ties = np.array([1, 1, 6, 2, 0, 0, 0]), np.array([3, 3, 1, 4, 3, 3, 3])
    missed = np.array([False] * 6 + [True])
    drawn = [
        user_ranks(above, ties, missed, users=users, one_list=one_list, seed=seed)
        for seed in range(4000)
    ]
    ranks = np.array([one.ranks for one in drawn], np.int64)
    assert all(one.num_targets is not None and list(one.num_targets) == [3, 1, 3] for one in drawn)
    assert (ranks[:, 6] == 0).all()
    for first, second in ((0, 1), (4, 5)):
        assert (ranks[:, first] == ranks[:, second]).any() != one_list
    for k in (1, 2, 3):
        groups = users if one_list else None
        expected = ranking_metrics(above, ties, missed, (k,), groups=groups)
        inside = (ranks > 0) & (ranks <= k)
        if one_list:
            found = np.logical_or.reduceat(inside, [0, 3, 4], axis=1).mean()
            assert expected[f"hr@{k}"] == pytest.approx(found, abs=0.02)
        else:
            assert expected[f"hr@{k}"] == pytest.approx(inside.mean(), abs=0.02)
    again = user_ranks(above, ties, missed, users=users, one_list=one_list, seed=7)
    assert (again.ranks == ranks[7]).all()


def test_targets_behind_the_longest_list_stay_behind_it() -> None:
    """Their equal scores are not counted, so that several have one place behind all k."""
    behind, one = np.array([20, 20, 20, 20, 3]), np.array([1, 1, 1, 1, 1])
    found = user_ranks(behind, one, None, users=np.zeros(5, int), one_list=True)
    assert found.ranks.tolist() == [21, 21, 21, 21, 4]


def test_a_list_whose_targets_are_all_missed_has_no_ranks() -> None:
    two = np.array([1, 1])
    found = user_ranks(two, two, np.array([True, True]), users=np.zeros(2, int), one_list=True)
    assert found.ranks.tolist() == [0, 0]
    assert found.num_targets is not None
    assert found.num_targets.tolist() == [2]


def test_targets_of_one_each_have_no_numbers() -> None:
    found = user_ranks(np.array([0, 4]), np.array([1, 1]), None, users=np.array([2, 9]))
    assert found.num_targets is None
    assert found.ranks.tolist() == [1, 5]
