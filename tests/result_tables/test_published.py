"""Published figures that cannot all be right are named."""

import math
import random

import pytest

from scalelab.core.presets import shipped_published
from scalelab.result_tables.published import contradictions, read_published


def rows(figures: dict[str, float], digits: int = 4) -> list[dict[str, str]]:
    return [
        {
            "dataset": "beauty",
            "model": "sasrec",
            "loss": "ce",
            "metric": name,
            "value": f"{figure:.{digits}f}",
        }
        for name, figure in figures.items()
    ]


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("digits", [2, 3, 4])
def test_figures_of_real_ranks_are_possible(seed: int, digits: int) -> None:
    draw = random.Random(seed)
    ranks = [draw.choice([1, 5, 6, 10, 11, 20, 21, draw.randint(1, 40)]) for _ in range(500)]
    figures = {f"hr@{k}": sum(rank <= k for rank in ranks) / 500 for k in (5, 10, 20)}
    figures |= {
        f"ndcg@{k}": sum(1 / math.log2(rank + 1) for rank in ranks if rank <= k) / 500
        for k in (5, 10, 20)
    }
    assert list(contradictions(rows(figures, digits))) == []


@pytest.mark.parametrize(("ndcg", "is_possible"), [(0.2329, True), (0.2332, True), (0.2361, False)])
def test_the_bounds_are_those_of_the_first_and_the_last_place(
    ndcg: float, is_possible: bool
) -> None:
    # A tenth of the targets at the places 6 to 10: 0.0289 to 0.0356 more.
    figures = {"hr@5": 0.3, "hr@10": 0.4, "ndcg@5": 0.2, "ndcg@10": ndcg}
    found = list(contradictions(rows(figures)))
    assert found == (
        []
        if is_possible
        else [
            "beauty, sasrec, ce: NDCG@10 0.2361 cannot be right beside NDCG@5 and the hit rates, "
            "which allow 0.2289 to 0.2356"
        ]
    )


def test_of_the_shipped_table_two_figures_are_named() -> None:
    found = list(contradictions(read_published(shipped_published())))
    assert [text.partition(" cannot")[0] for text in found] == [
        "amazon-beauty, sasrec, ce_last: NDCG@10 0.0355",
        "amazon-beauty, sasrec, ce_last: NDCG@20 0.0381",
    ]
