"""Baselines equal a ranking of every item for every user, written plainly."""

from dataclasses import replace

import numpy as np
import pytest

from scalelab.core.spec import DataSpec
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.splits import Split, leave_one_out
from scalelab.train.baselines import baseline_rows, popularity_metrics

KS = (1, 5, 10, 20)
NAMES = ("popularity", "popularity_3_days", "last_item_follower")


def problem(seed: int) -> tuple[Interactions, Split]:
    """Few items, so that there are ties, repeated targets, and lists longer than the catalog."""
    rng = np.random.default_rng(seed)
    num_items = int(rng.choice([3, 8, 40, 300]))
    lengths = rng.integers(1, 12, rng.integers(5, 60))
    lengths[0] = 5
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = np.minimum(rng.zipf(1.4, offsets[-1]), num_items).astype(np.int32)
    times = rng.integers(0, 10 * 86_400, offsets[-1])
    interactions = Interactions(
        item_ids=items,
        offsets=offsets,
        times=times,
        num_items=num_items,
        time_is_order=False,
        fingerprint="0" * 16,
        dropped={},
        time_unit="s",
    )
    return interactions, leave_one_out(interactions)


def expected_scores(interactions: Interactions, split: Split, name: str, last: int) -> np.ndarray:
    """Of items 0..num_items, by looking at every training interaction."""
    scores = np.zeros(interactions.num_items + 1)
    assert interactions.times is not None
    train = split.train
    places = [range(train.starts[u], train.ends[u]) for u in range(len(train))]
    latest = max(int(interactions.times[at]) for user in places for at in user)
    for user in places:
        for at in user:
            item = interactions.item_ids[at]
            if name == "popularity":
                scores[item] += 1
            elif name == "popularity_3_days":
                scores[item] += interactions.times[at] > latest - 3 * 86_400
            elif at > user.start:
                scores[item] += interactions.item_ids[at - 1] == last
    return scores


def expected(
    interactions: Interactions, split: Split, name: str, which: str, exclude_seen: bool
) -> dict[str, float]:
    held_out = getattr(split, which)
    shown = {k: set() for k in KS}
    sums = {f"{metric}@{k}": 0.0 for metric in ("hr", "recall", "ndcg", "mrr") for k in KS}
    for user, target in enumerate(held_out.targets.tolist()):
        history = held_out.histories[user].tolist()
        scores = expected_scores(interactions, split, name, history[-1])
        candidates = set(range(1, interactions.num_items + 1))
        if exclude_seen:
            candidates -= set(history)
        counted = [item for item in sorted(candidates) if scores[item] > 0]
        counted.sort(key=lambda item: -scores[item])
        for k in KS:
            shown[k] |= set(counted[:k])
        if target not in candidates:
            continue
        above = sum(scores[item] > scores[target] for item in candidates)
        ties = sum(scores[item] == scores[target] for item in candidates)
        for key in sums:
            metric, _, k = key.partition("@")
            for rank in range(above + 1, above + ties + 1):
                if rank <= int(k):
                    gains = {"ndcg": 1 / np.log2(1 + rank), "mrr": 1 / rank}
                    gain = gains.get(metric, 1.0)
                    sums[key] += gain / ties
    found = {key: value / len(held_out) for key, value in sums.items()}
    return found | {f"coverage@{k}": len(shown[k]) / interactions.num_items for k in KS}


@pytest.mark.parametrize("at_once", [pytest.param(2**20, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("exclude_seen", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_they_equal_a_ranking_of_every_item(
    exclude_seen: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scalelab.train.baselines._PAIRS", at_once)
    repeated = 0
    data = DataSpec(exclude_seen=exclude_seen, recent_days=3)
    for seed in range(25):
        interactions, split = problem(seed)
        rows = baseline_rows(interactions, split, data, data_fingerprint="d", protocol="p")
        assert {row.name for row in rows} == set(NAMES)
        for which in ("valid", "test"):
            for name in NAMES:
                found = {
                    f"{row.metric}@{row.k}": row.value
                    for row in rows
                    if (row.name, row.split) == (name, which)
                }
                wanted = expected(interactions, split, name, which, exclude_seen)
                assert found == pytest.approx(wanted, abs=1e-12), (seed, name, which)
        repeated += split.test.num_repeated
    assert repeated > 50, "the problems have repeated targets"


def test_rows_say_whose_they_are() -> None:
    interactions, split = problem(1)
    rows = baseline_rows(interactions, split, DataSpec(), data_fingerprint="d", protocol="p")
    assert {(row.data_fingerprint, row.protocol) for row in rows} == {("d", "p")}
    assert {row.metric for row in rows} == {"hr", "recall", "ndcg", "mrr", "coverage"}
    assert {row.k for row in rows} == set(KS)
    assert all(row.seconds >= 0 for row in rows)
    assert len({(row.name, row.split, row.metric, row.k) for row in rows}) == len(rows)


@pytest.mark.parametrize(
    "changes", [{"times": None}, {"time_is_order": True}, {"time_unit": ""}], ids=str
)
def test_without_clock_times_no_days_are_recent(changes: dict[str, object]) -> None:
    interactions, split = problem(1)
    interactions = replace(interactions, **changes)
    rows = baseline_rows(interactions, split, DataSpec(), data_fingerprint="d", protocol="p")
    assert {row.name for row in rows} == {"popularity", "last_item_follower"}


@pytest.mark.parametrize(("unit", "second"), [("ms", 10**3), ("us", 10**6), ("ns", 10**9)])
def test_days_are_days_in_every_unit(unit: str, second: int) -> None:
    interactions, split = problem(2)
    assert interactions.times is not None
    finer = replace(interactions, times=interactions.times * second, time_unit=unit)
    data = DataSpec(recent_days=3)
    found = [
        [
            (r.name, r.metric, r.k, r.value)
            for r in baseline_rows(which, split, data, data_fingerprint="d", protocol="p")
        ]
        for which in (interactions, finer)
    ]
    assert found[0] == found[1]


def test_only_the_evaluated_users_count() -> None:
    _, split = problem(4)
    some = DataSpec(max_eval_users=3)
    chosen = np.linspace(0, len(split.valid) - 1, 3).astype(np.int64)
    histories = split.valid.histories
    fewer = replace(
        split.valid,
        histories=replace(histories, starts=histories.starts[chosen], ends=histories.ends[chosen]),
        targets=split.valid.targets[chosen],
    )
    assert popularity_metrics(split, split.valid, some) == popularity_metrics(
        split, fewer, DataSpec()
    )
