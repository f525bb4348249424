"""The generator against its own definition, written a second time in plain numpy."""

from dataclasses import replace

import numpy as np
import pytest

from scalelab.core.errors import SpecError
from scalelab.core.spec import DataSpec
from scalelab.datasets.load import lengths, load, split
from scalelab.datasets.splits import leave_one_out
from scalelab.synthetic import draws, oracle
from scalelab.synthetic.model import Synthetic

TINY = {
    "num_items": 40, "items_per_taste": 10, "max_length": 15, "mean_length": 8.0, "min_length": 4,
    "num_successors": 3,
}  # fmt: skip


def pareto(n: int, exponent: float) -> np.ndarray:
    """Probability of floor(x) - 1 for x with density x ** -exponent on [1, n + 1)."""
    edges = np.arange(1, n + 2, dtype=np.float64)
    total = np.log(edges) if exponent == 1 else (edges ** (1 - exponent) - 1) / (1 - exponent)
    return np.diff(total) / total[-1]


def next_item(model: Synthetic, user: int, last_item: int | None) -> np.ndarray:
    """True probability of each item (index 0: item 1) after `last_item`, seen ones included."""
    num_items, num_tastes = model.num_items, model.num_tastes
    law = model._law()
    rank_of = {(r * law.stride) % num_items + 1: r for r in range(num_items)}
    tastes = np.empty(model.tastes_per_user, dtype=np.int64)
    draws.fill_tastes(law, user, tastes)
    by_rank = (1 - model.taste - model.transition) * pareto(num_items, model.exponent)
    transition = 0.0 if last_item is None else model.transition
    share = model.taste + model.transition - transition
    for taste, weight in zip(tastes, model._taste_shares(), strict=True):
        members = np.arange(taste, num_items, num_tastes)
        by_rank[members] += share * weight * pareto(len(members), model.exponent)
    if last_item is not None:
        key = draws.key_of(model.data_seed, 0, np.uint64(4))
        for k, weight in enumerate(model._successor_shares()):
            successor = draws.successor(law, key, rank_of[last_item], k)
            by_rank[successor] += transition * weight
    probability = np.empty(num_items)
    for item, rank in rank_of.items():
        probability[item - 1] = by_rank[rank]
    return probability


@pytest.mark.parametrize("exponent", [0.0, 0.7, 1.0, 1.8])
@pytest.mark.parametrize("repeats", [False, True])
@pytest.mark.parametrize("exclude_seen", [False, True])
def test_the_oracle_is_the_brute_force_ranking(exponent, repeats, exclude_seen):
    model = Synthetic(num_users=300, repeats=repeats, exponent=exponent, **TINY)
    read = model.generate()
    test = leave_one_out(read).test
    ks = (1, 3, 10, 20)
    expected = {f"{name}@{k}": 0.0 for name in ("ndcg", "hr", "recall", "mrr") for k in ks}
    for n, user in enumerate(test.users):
        history = test.histories[n]
        p = next_item(model, int(user), int(history[-1]))
        assert p.sum() == pytest.approx(1.0)
        target = int(test.targets[n]) - 1
        if exclude_seen or not repeats:
            if test.targets[n] in history:
                continue
            p[history - 1] = -1.0
        # Exact ties of the law differ by rounding between the two ways of computing it.
        ahead = int((p > p[target] + 1e-12).sum())
        ties = int((np.abs(p - p[target]) <= 1e-12).sum())
        for k in ks:
            ranks = [rank for rank in range(ahead + 1, ahead + ties + 1) if rank <= k]
            expected[f"ndcg@{k}"] += sum(1 / np.log2(1 + rank) for rank in ranks) / ties
            expected[f"hr@{k}"] += len(ranks) / ties
            expected[f"recall@{k}"] += len(ranks) / ties
            expected[f"mrr@{k}"] += sum(1 / rank for rank in ranks) / ties
    found = model.oracle_metrics(test, exclude_seen, ks)
    means = {name: total / len(test) for name, total in expected.items()}
    assert found == pytest.approx(means, abs=1e-9)
    assert 0 < found["ndcg@1"] < found["mrr@10"] < found["ndcg@10"] < found["hr@20"] < 1
    assert model.oracle_metrics(test, exclude_seen, (10,)) == {
        name: value for name, value in found.items() if name.endswith("@10")
    }


@pytest.mark.parametrize(
    "key",
    [
        "ndcg@3",
        pytest.param("hr@5", marks=pytest.mark.slow),
        pytest.param("mrr@4", marks=pytest.mark.slow),
    ],
)
def test_no_other_ranking_expects_more_than_the_oracle(key):
    """By simulation: many next items of the same histories, ranked by the truth and by noise."""
    model = Synthetic(num_users=40, repeats=True, **TINY)
    test = leave_one_out(model.generate()).test
    rng = np.random.default_rng(0)
    name, k = key.split("@")
    gain_of = {"ndcg": lambda r: 1 / np.log2(1 + r), "hr": np.ones_like, "mrr": lambda r: 1 / r}
    sizes = np.arange(1.0, model.num_items + 1)
    gains = np.where(sizes <= int(k), gain_of[name](sizes), 0.0)
    laws = [
        next_item(model, int(user), int(test.histories[n][-1])) for n, user in enumerate(test.users)
    ]

    def expected(noise: float) -> float:
        """The enumeration over all targets of a ranking by noisy probabilities."""
        noisy = [p * np.exp(noise * rng.normal(size=len(p))) for p in laws]
        orders = [np.argsort(-p, kind="stable") for p in noisy]
        return float(np.mean([(p[o] * gains).sum() for p, o in zip(laws, orders, strict=True)]))

    best = expected(0.0)
    assert all(expected(noise) < best for noise in (0.3, 1.0, 3.0))
    draws_per_user, total = 400, []
    for _ in range(draws_per_user):
        targets = np.array([rng.choice(len(p), p=p) + 1 for p in laws], dtype=np.int32)
        total.append(model.oracle_metrics(replace(test, targets=targets), False, (int(k),))[key])
    spread = np.std(total) / draws_per_user**0.5
    assert np.mean(total) == pytest.approx(best, abs=5 * spread)


@pytest.mark.parametrize("exponent", [0.7, 1.0])
def test_draws_follow_the_stated_probabilities(exponent):
    """With one taste all users are alike, so that their steps can be pooled."""
    model = Synthetic(
        num_items=8, items_per_taste=8, tastes_per_user=1, num_users=40_000, min_length=2,
        mean_length=3.0, max_length=4, exponent=exponent, repeats=True, num_successors=2,
    )  # fmt: skip
    read = model.generate()
    starts = read.offsets[:-1]
    first = np.bincount(read.item_ids[starts] - 1, minlength=8) / len(starts)
    np.testing.assert_allclose(first, next_item(model, 0, None), atol=0.01)
    for last in range(1, 9):
        rows = starts[read.item_ids[starts] == last]
        second = np.bincount(read.item_ids[rows + 1] - 1, minlength=8) / len(rows)
        np.testing.assert_allclose(
            second, next_item(model, 0, last), atol=5 * 0.5 / len(rows) ** 0.5
        )


def test_a_history_depends_on_seed_and_user_alone(monkeypatch):
    many = Synthetic(num_users=200, **TINY).generate()
    monkeypatch.setattr("scalelab.synthetic.model._on_all_cores", lambda work, n: work(0, n))
    few = Synthetic(num_users=50, **TINY).generate()
    np.testing.assert_array_equal(few.item_ids, many.item_ids[: len(few.item_ids)])
    other = Synthetic(num_users=50, data_seed=1, **TINY).generate()
    assert not np.array_equal(other.item_ids[:100], few.item_ids[:100])


def test_items_do_not_come_again_unless_asked():
    for repeats in (False, True):
        read = Synthetic(num_users=100, repeats=repeats, **TINY).generate()
        again = any(
            len(set(h.tolist())) < len(h) for h in map(read.histories.__getitem__, range(100))
        )
        assert again is repeats


def test_lengths_are_known_without_items_and_have_the_mean_asked_for():
    model = Synthetic(num_users=20_000, min_length=5, mean_length=20.0, max_length=1000)
    assert model.lengths().mean() == pytest.approx(20.0, rel=0.02)
    many = Synthetic(num_users=20_000, num_interactions=200_000)
    assert many.lengths().sum() == pytest.approx(200_000, rel=0.02)
    spec = DataSpec(reader="synthetic", num_users=300, num_items=500, max_length=100)
    read = load(spec)
    parts = split(read, spec)
    known = lengths(spec)
    np.testing.assert_array_equal(known.train, parts.train.lengths)
    np.testing.assert_array_equal(known.valid, parts.valid.histories.lengths)
    np.testing.assert_array_equal(known.test, parts.test.histories.lengths)
    assert (known.num_items, known.num_users) == (read.num_items, read.num_users)


def test_the_taste_is_worth_knowing_and_popularity_is_not_enough():
    spec = DataSpec(reader="synthetic", num_users=2_000, num_items=2_000)
    read = load(spec)
    parts = split(read, spec)
    counts = np.bincount(read.item_ids, minlength=2_001)
    places = np.empty(2_001, dtype=np.int64)
    places[np.argsort(-counts)] = np.arange(2_001)
    at = places[parts.test.targets]
    popular = np.where(at < 10, 1 / np.log2(at + 2.0), 0).mean()
    assert parts.oracle_metrics((10,))["ndcg@10"] > 4 * popular


@pytest.mark.parametrize(
    "options",
    [
        {"transition": 0.8, "taste": 0.3},
        {"min_length": 30},
        {"num_interactions": 5},
        {"num_items": 100, "max_length": 60},
        {"num_items": 0},
        {"exponent": "steep"},
    ],
)
def test_options_that_cannot_be_are_refused(options):
    with pytest.raises(SpecError):
        load(DataSpec(reader="synthetic", **options))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 1.8])
def test_probabilities_of_all_items_add_up_to_one(exponent):
    model = Synthetic(exponent=exponent, **TINY)
    law = model._law()
    tastes, following = np.array([1, 3, 1]), np.array([5, 9, 5])
    shares = model._taste_shares(), model._successor_shares()
    values = [
        oracle.probability(law, rank, tastes, shares[0], following, shares[1])
        for rank in range(model.num_items)
    ]
    assert sum(values) == pytest.approx(1.0)
    assert values[5] > values[6]
