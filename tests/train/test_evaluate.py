"""Full-catalog ranking against a plain ranking, one user at a time."""

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scalelab.core.errors import DataError
from scalelab.core.target import Target, predicted_target
from scalelab.datasets.interactions import Histories
from scalelab.datasets.splits import HeldOut
from scalelab.models import EncoderInput
from scalelab.train.evaluate import Diverged, Evaluator

NUM_ITEMS = 57
KS = (1, 5, 10, 20)


class LastItem(nn.Module):
    """Hidden state = the row of the last item in a table of its own."""

    def __init__(self, constant: bool = False) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.table = nn.Parameter(torch.randn(NUM_ITEMS + 1, 6, generator=generator))
        self.query = nn.Parameter(torch.randn(NUM_ITEMS + 1, 6, generator=generator))
        if constant:
            nn.init.zeros_(self.table)

    @property
    def item_table_VD(self) -> Tensor:
        return self.table

    def forward(self, inputs: EncoderInput) -> Tensor:
        return nn.functional.embedding(inputs.item_ids_BL, self.query)


def held_out(num_users: int = 200) -> HeldOut:
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 15, num_users)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    items = rng.integers(1, NUM_ITEMS + 1, offsets[-1]).astype(np.int32)
    targets = rng.integers(1, NUM_ITEMS + 1, num_users).astype(np.int32)
    histories = Histories(item_ids=items, starts=offsets[:-1], ends=offsets[1:])
    repeated = sum(int(targets[u] in histories[u]) for u in range(num_users))
    users = np.arange(num_users, dtype=np.int32)
    return HeldOut(histories=histories, targets=targets, users=users, num_repeated=repeated)


def plain(model: LastItem, data: HeldOut, exclude_seen: bool) -> dict[str, float]:
    sums: dict[str, float] = {}
    for user, target in enumerate(data.targets):
        history = data.histories[user]
        scores = (model.query[history[-1]] @ model.table.T).detach().numpy().copy()
        scores[0] = -np.inf
        if exclude_seen:
            scores[history] = -np.inf
        if exclude_seen and target in history:
            rank = math.inf
        else:
            rank = 1 + int((scores > scores[target]).sum())
        for k in KS:
            hit = rank <= k
            sums[f"hr@{k}"] = sums.get(f"hr@{k}", 0) + hit
            sums[f"ndcg@{k}"] = sums.get(f"ndcg@{k}", 0) + (1 / math.log2(1 + rank) if hit else 0)
            sums[f"mrr@{k}"] = sums.get(f"mrr@{k}", 0) + (1 / rank if hit else 0)
    return {name: value / len(data.targets) for name, value in sums.items()}


@pytest.fixture(params=["cpu", "cuda"], autouse=True)
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """What a GPU does runs on a CPU too, where it is told that it stands for one."""
    token = predicted_target.set(Target(request.param))
    yield request.param
    predicted_target.reset(token)


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("block_bytes", [1, 10**7])
@pytest.mark.parametrize("most_bytes", [2**20, 2**10])
def test_metrics_are_those_of_a_plain_ranking(
    exclude_seen: bool, block_bytes: int, most_bytes: int
) -> None:
    model, data = LastItem(), held_out()
    evaluator = Evaluator(
        num_items=NUM_ITEMS,
        max_len=5,
        exclude_seen=exclude_seen,
        block_bytes=block_bytes,
        most_bytes=most_bytes,
    )
    assert (evaluator.panel_numbers > 0) == (most_bytes == 2**10)
    found = evaluator(model, data)
    for name, value in plain(model, data, exclude_seen).items():
        assert found[name] == pytest.approx(value, abs=1e-12), name
    assert found["num_users"] == 200
    assert found["num_repeated"] == data.num_repeated > 0


@pytest.mark.parametrize("exclude_seen", [True, False])
@pytest.mark.parametrize("max_users", [0, 37])
def test_the_ranks_of_users_give_the_metrics(exclude_seen: bool, max_users: int) -> None:
    evaluator = Evaluator(num_items=NUM_ITEMS, max_len=5, exclude_seen=exclude_seen, block_bytes=1)
    metrics, (ranks, num_targets, one_list) = evaluator.ranked(LastItem(), held_out(), max_users)
    assert (num_targets, one_list) == (None, False)
    assert ranks.shape == (max_users or 200,)
    assert (ranks == 0).sum() == (metrics["num_repeated"] if exclude_seen else 0)
    for k in KS:
        hit = (ranks > 0) & (ranks <= k)
        gains = np.where(hit, 1 / np.log2(1.0 + np.maximum(ranks, 1)), 0)
        assert gains.mean() == pytest.approx(metrics[f"ndcg@{k}"], abs=1e-12)


def test_among_equal_scores_a_rank_is_drawn_the_same_for_every_model() -> None:
    evaluator = Evaluator(num_items=NUM_ITEMS, max_len=5, exclude_seen=False)
    model = LastItem(constant=True)
    first, second = (evaluator.ranked(model, held_out())[1].ranks for _ in range(2))
    assert first.tolist() == second.tolist()
    assert first.min() >= 1
    assert first.max() <= NUM_ITEMS
    # Ranks spread evenly over the catalog; the middle, or the first for all, would not.
    assert np.quantile(first, [0.25, 0.5, 0.75]) == pytest.approx(
        [NUM_ITEMS * share for share in (0.25, 0.5, 0.75)], rel=0.25
    )


def test_a_constant_scorer_scores_like_chance() -> None:
    found = Evaluator(num_items=NUM_ITEMS, max_len=5, exclude_seen=False)(
        LastItem(constant=True), held_out()
    )
    for k in KS:
        assert found[f"hr@{k}"] == pytest.approx(k / NUM_ITEMS)
        assert found[f"mrr@{k}"] == pytest.approx(sum(1 / r for r in range(1, k + 1)) / NUM_ITEMS)


def test_all_equal_scores_are_counted_in_a_catalog_of_many_chunks(way: str) -> None:
    # 7 of 9,000 items score highest; the target is one of them, k = 5 cuts through them.
    num_items, best = 9000, [17, 18, 400, 4000, 4097, 8191, 9000]
    model = LastItem()
    table = torch.zeros(num_items + 1, 6)
    table[best] = 1.0
    model.table = nn.Parameter(table)
    model.query = nn.Parameter(torch.ones(num_items + 1, 6))
    data = held_out(20)
    data = replace(data, targets=np.array([4097, 18] * 10, dtype=np.int32))
    found = Evaluator(num_items=num_items, max_len=5, exclude_seen=False, ks=(1, 5))(model, data)
    assert found["hr@5"] == pytest.approx(5 / 7)
    assert found["hr@1"] == pytest.approx(1 / 7)


def test_a_gpu_takes_blocks_of_its_own_size() -> None:
    evaluator = Evaluator(num_items=10**6, max_len=50, exclude_seen=True)
    assert evaluator.block_users(64, None) == evaluator.block_users(64, Target("cpu")) == 8
    assert evaluator.block_users(64, Target("cuda", 80 * 10**9)) == 2**28 // (4 * (10**6 + 1))


def test_coverage_counts_each_item_once() -> None:
    model, data = LastItem(), held_out()
    found = Evaluator(num_items=NUM_ITEMS, max_len=5, exclude_seen=False)(model, data)
    lists = []
    for user in range(200):
        scores = (model.query[data.histories[user][-1]] @ model.table.T).detach().numpy().copy()
        scores[0] = -np.inf
        lists.append(np.argsort(-scores)[:20])
    for k in KS:
        shown = {int(item) for ranking in lists for item in ranking[:k]}
        assert found[f"coverage@{k}"] == pytest.approx(len(shown) / NUM_ITEMS)


def test_nobody_to_evaluate_is_refused() -> None:
    data = held_out(3)
    empty = HeldOut(
        histories=Histories(
            item_ids=data.histories.item_ids,
            starts=data.histories.starts,
            ends=data.histories.starts,
        ),
        targets=data.targets,
        users=data.users,
        num_repeated=0,
    )
    with pytest.raises(DataError, match="no user"):
        Evaluator(num_items=NUM_ITEMS, max_len=5, exclude_seen=True)(LastItem(), empty)


def test_a_broken_model_does_not_look_like_a_perfect_one() -> None:
    model = LastItem()
    with torch.no_grad():
        model.table[5] = torch.nan
    with pytest.raises(Diverged):
        Evaluator(num_items=NUM_ITEMS, max_len=5, exclude_seen=False)(model, held_out())
