"""Ranking metrics follow their formulas, and equal scores share their ranks."""

import math

import numpy as np
import pytest

from scalelab.train.ranking import evaluated_users, ranking_metrics


def metrics(above: int, ties: int, k: int, missed: bool | None = None) -> dict[str, float]:
    out = None if missed is None else np.array([missed])
    found = ranking_metrics(np.array([above]), np.array([ties]), out, (k,))
    return {key.partition("@")[0]: value for key, value in found.items()}


@pytest.mark.parametrize("rank", [1, 2, 7, 10])
def test_a_target_within_the_list_has_the_gain_of_its_rank(rank: int) -> None:
    found = metrics(above=rank - 1, ties=1, k=10)
    assert found == pytest.approx({"hr": 1, "ndcg": 1 / math.log2(1 + rank), "mrr": 1 / rank})


def test_a_target_behind_the_list_has_none() -> None:
    assert metrics(above=10, ties=1, k=10) == {"hr": 0, "ndcg": 0, "mrr": 0}


def test_ties_share_their_ranks() -> None:
    # The example of the module: ranks 3, 4 and 5 are equally likely, and the list ends at 4.
    found = metrics(above=2, ties=3, k=4)
    assert found["hr"] == pytest.approx(2 / 3)
    assert found["mrr"] == pytest.approx((1 / 3 + 1 / 4) / 3)
    assert found["ndcg"] == pytest.approx((1 / math.log2(4) + 1 / math.log2(5)) / 3)


def test_equal_scores_for_all_are_chance() -> None:
    assert metrics(above=0, ties=200, k=10)["hr"] == pytest.approx(10 / 200)


def test_a_target_that_was_excluded_is_a_miss() -> None:
    assert metrics(above=0, ties=1, k=10, missed=True) == {"hr": 0, "ndcg": 0, "mrr": 0}
    assert metrics(above=0, ties=1, k=10, missed=False)["hr"] == 1


def test_a_metric_is_the_mean_over_users() -> None:
    found = ranking_metrics(np.array([0, 30, 1]), np.array([1, 1, 1]), None, (1, 5))
    assert found["hr@1"] == pytest.approx(1 / 3)
    assert found["hr@5"] == pytest.approx(2 / 3)
    assert found["mrr@5"] == pytest.approx((1 + 1 / 2) / 3)


def test_users_without_a_history_are_not_evaluated_and_some_are_evenly_spaced() -> None:
    lengths = np.array([3, 0, 1, 0, 2, 5, 9])
    assert evaluated_users(lengths).tolist() == [0, 2, 4, 5, 6]
    assert evaluated_users(lengths, 3).tolist() == [0, 4, 6]
    assert evaluated_users(lengths, 9).tolist() == [0, 2, 4, 5, 6]
