"""Metrics and coverage equal those of a ranking that looks at every item of every user."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scalelab.core.target import Target, predicted_target
from scalelab.datasets.interactions import Histories
from scalelab.datasets.splits import HeldOut
from scalelab.models import EncoderInput
from scalelab.train.evaluate import Evaluator


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Scores of whole numbers, so that equal ones are equal in any arithmetic."""

    query_VD: np.ndarray
    table_VD: np.ndarray
    histories: list[np.ndarray]
    targets: np.ndarray
    ks: tuple[int, ...]
    exclude_seen: bool

    @property
    def num_items(self) -> int:
        return len(self.table_VD) - 1

    def scores(self, user: int) -> np.ndarray:
        """By item; of items that the user can have in a list."""
        scores = (self.table_VD @ self.query_VD[self.histories[user][-1]]).astype(np.float64)
        scores[0] = -np.inf
        if self.exclude_seen:
            scores[self.histories[user]] = -np.inf
        return scores


def problem_of(seed: int) -> Problem:
    """Few items or several chunks of them, many ties or few, users who know (nearly) all items."""
    rng = np.random.default_rng(seed)
    num_items = int(rng.integers(200, 700) if seed % 4 == 0 else rng.integers(1, 40))
    most = int(rng.choice([1, 3, 1000]))
    size = (2, num_items + 1, 4)
    query_VD, table_VD = rng.integers(-most, most + 1, size)
    histories = []
    for _ in range(rng.integers(1, 12)):
        kind = rng.random()
        known = num_items if kind < 0.15 else max(1, num_items - int(rng.integers(0, 5)))
        known = known if kind < 0.4 else int(rng.integers(1, min(num_items, 15) + 1))
        items = rng.permutation(num_items)[:known] + 1
        again = rng.choice(items, int(rng.integers(0, 3)))
        histories.append(np.concatenate([again, items]))
    targets = rng.integers(1, num_items + 1, len(histories))
    for user, history in enumerate(histories):
        unseen = np.setdiff1d(np.arange(1, num_items + 1), history)
        if len(unseen) and rng.random() < 0.7:
            targets[user] = rng.choice(unseen)
    ks = (1, 2, 3) if seed % 8 == 0 else (1, 5, 10, 20)
    return Problem(
        query_VD=query_VD,
        table_VD=table_VD,
        histories=histories,
        targets=targets,
        ks=ks,
        exclude_seen=bool(rng.random() < 0.7),
    )


def gain(name: str, rank: int) -> float:
    return {"hr": 1.0, "ndcg": 1 / np.log2(1 + rank), "mrr": 1 / rank}[name]


def expected_metrics(problem: Problem) -> dict[str, float]:
    """Each user's mean over the ranks that the order of equal scores leaves open."""
    sums = {f"{name}@{k}": 0.0 for name in ("hr", "ndcg", "mrr") for k in problem.ks}
    for user, target in enumerate(problem.targets):
        scores = problem.scores(user)
        if scores[target] == -np.inf:
            continue
        above = sum(score > scores[target] for score in scores)
        ties = sum(score == scores[target] for score in scores)
        ranks = range(above + 1, above + ties + 1)
        for key in sums:
            name, _, k = key.partition("@")
            sums[key] += sum(gain(name, rank) for rank in ranks if rank <= int(k)) / len(ranks)
    return {key: value / len(problem.targets) for key, value in sums.items()}


def expected_coverage(problem: Problem, k: int) -> tuple[Fraction, Fraction]:
    """At least and at most: the same unless equal scores leave open who is in a list."""
    sure, possible, longest = set(), set(), 0
    for user in range(len(problem.targets)):
        scores = problem.scores(user)
        for item in np.flatnonzero(scores > -np.inf).tolist():
            if (scores >= scores[item]).sum() <= k:
                sure.add(item)
            if (scores > scores[item]).sum() < k:
                possible.add(item)
        longest = max(longest, min(k, int((scores > -np.inf).sum())))
    least = max(len(sure), longest)
    return Fraction(least, problem.num_items), Fraction(len(possible), problem.num_items)


def expected_popularity(
    problem: Problem, popularity_V: np.ndarray, k: int
) -> tuple[float, float] | None:
    """At least and at most, by who of equal scores is in a list; None where all lists are empty."""
    sums, places = np.zeros(2), 0
    for user in range(len(problem.targets)):
        scores = problem.scores(user)
        listed = np.flatnonzero(scores > -np.inf)
        if len(listed) > k:
            last = np.sort(scores[listed])[-k]
            sure = popularity_V[listed[scores[listed] > last]]
            level = np.sort(popularity_V[listed[scores[listed] == last]])
            free = k - len(sure)
            sums += sure.sum() + np.array([level[:free].sum(), level[len(level) - free :].sum()])
        else:
            sums += popularity_V[listed].sum()
        places += min(k, len(listed))
    return (sums[0] / places, sums[1] / places) if places else None


class Given(nn.Module):
    """Scores every item by the last one, from two tables."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.tensor(problem.query_VD, dtype=torch.float32))
        self.table = nn.Parameter(torch.tensor(problem.table_VD, dtype=torch.float32))

    @property
    def item_table_VD(self) -> Tensor:
        return self.table

    def forward(self, inputs: EncoderInput) -> Tensor:
        return nn.functional.embedding(inputs.item_ids_BL, self.query)


def held_out(problem: Problem) -> HeldOut:
    lengths = [len(history) for history in problem.histories]
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = np.concatenate(problem.histories).astype(np.int32)
    return HeldOut(
        histories=Histories(item_ids=items, starts=offsets[:-1], ends=offsets[1:]),
        targets=problem.targets.astype(np.int32),
        users=np.arange(len(lengths), dtype=np.int32),
        num_repeated=0,
    )


@pytest.fixture(params=["cpu", "cuda"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """What a GPU does runs on a CPU too, where it is told that it stands for one."""
    token = predicted_target.set(Target(request.param))
    yield request.param
    predicted_target.reset(token)


@pytest.mark.parametrize("block_bytes", [0, 1])
def test_a_list_with_several_targets_counts_once(block_bytes: int) -> None:
    """Users have 1 to 12 targets: popularity is that of each user's list, not of each target's,
    also where blocks of few rows cut a user's targets apart.
    """
    rng = np.random.default_rng(0)
    num_items, ks = 30, (1, 5)
    users = np.repeat(np.arange(12), rng.permutation(12) + 1)
    histories = [rng.permutation(num_items)[:4] + 1 for _ in range(12)]
    once = Problem(
        query_VD=rng.integers(-1000, 1001, (num_items + 1, 4)),
        table_VD=rng.integers(-1000, 1001, (num_items + 1, 4)),
        histories=histories,
        targets=rng.integers(1, num_items + 1, 12),
        ks=ks,
        exclude_seen=True,
    )
    often = replace(
        once,
        histories=[histories[user] for user in users],
        targets=rng.integers(1, num_items + 1, len(users)),
    )
    evaluator = Evaluator(
        num_items=num_items, max_len=5, exclude_seen=True, ks=ks, block_bytes=block_bytes
    )
    popularity_V = rng.random(num_items + 1)

    def found(problem: Problem, **changes: Any) -> dict[str, float]:
        wanted = replace(held_out(problem), **changes)
        return evaluator.ranked(Given(problem), wanted, popularity_V=popularity_V)[0]

    expected = found(once)
    sets = found(often, users=users.astype(np.int32), as_sets=True)
    apart = found(often, users=users.astype(np.int32))
    for k in ks:
        assert sets[f"popularity@{k}"] == pytest.approx(expected[f"popularity@{k}"], abs=1e-12)
        # Each target with a list of its own: one list each.
        assert apart[f"popularity@{k}"] != pytest.approx(expected[f"popularity@{k}"], abs=1e-3)
    taken = popularity_V[often.targets].mean()
    assert sets["target_popularity"] == pytest.approx(taken, abs=1e-12)


@pytest.mark.slow
def test_metrics_and_coverage_are_those_of_a_ranking_of_every_item() -> None:
    exact = repeated = short = above_catalog = panels = one_list = 0
    for seed in range(200):
        problem = problem_of(seed)
        evaluator = Evaluator(
            num_items=problem.num_items,
            max_len=5,
            exclude_seen=problem.exclude_seen,
            ks=problem.ks,
            block_bytes=1 if seed % 2 else 0,
            # A third of them in panels of a few items.
            most_bytes=2**29 if seed % 3 else 32 * (problem.num_items + 1) - 1,
        )
        panels += evaluator.panel_numbers > 0
        popularity_V = np.random.default_rng(seed).random(problem.num_items + 1)
        popularity_V[0] = 0.0
        found, _ = evaluator.ranked(Given(problem), held_out(problem), popularity_V=popularity_V)
        for name, value in expected_metrics(problem).items():
            assert found[name] == pytest.approx(value, abs=1e-12), (seed, name)
        for k in problem.ks:
            least, most = expected_coverage(problem, k)
            assert float(least) <= found[f"coverage@{k}"] <= float(most), (seed, k)
            exact += least == most
            between = expected_popularity(problem, popularity_V, k)
            assert (f"popularity@{k}" in found) == (between is not None)
            if between is not None:
                low, high = between
                assert low - 1e-12 <= found[f"popularity@{k}"] <= high + 1e-12, (seed, k)
                one_list += high - low < 1e-12
        mean = popularity_V[problem.targets].mean()
        assert found["target_popularity"] == pytest.approx(mean, abs=1e-12)
        again = sum(t in h for t, h in zip(problem.targets, problem.histories, strict=True))
        assert found["num_users"] == len(problem.targets)
        assert found["num_repeated"] == again
        repeated += again
        largest = max(problem.ks)
        unseen = [int((problem.scores(u) > -np.inf).sum()) for u in range(len(problem.targets))]
        short += sum(number < min(largest, problem.num_items) for number in unseen)
        above_catalog += largest > problem.num_items
    # The problems are what they are meant to be.
    assert min(exact, repeated, short, one_list) > 100
    assert panels == 67
    assert above_catalog > 30


@pytest.mark.parametrize("num_items", [40, 300])
def test_an_item_that_no_list_can_hold_is_not_covered(num_items: int) -> None:
    # Every user has seen all but two items; a list of 20 holds these two.
    query_VD, table_VD = np.random.default_rng(0).integers(-9, 10, (2, num_items + 1, 4))
    histories = [np.arange(1, num_items - 1)] * 3
    problem = Problem(
        query_VD=query_VD,
        table_VD=table_VD,
        histories=histories,
        targets=np.array([num_items] * 3),
        ks=(1, 20),
        exclude_seen=True,
    )
    evaluator = Evaluator(num_items=num_items, max_len=5, exclude_seen=True, ks=(1, 20))
    found = evaluator(Given(problem), held_out(problem))
    assert found["coverage@20"] == pytest.approx(2 / num_items)
    assert found["hr@20"] == 1
