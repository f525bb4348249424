"""Figures of predictability, against plain sums and against laws whose figures are known."""

import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from scalelab.dataset_facts.describe import describe
from scalelab.dataset_facts.statistics import sequence_statistics, zipf_exponent
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.load import Dataset
from scalelab.datasets.request import request


def interactions(histories: list[list[int]]) -> Interactions:
    items = [item for history in histories for item in history]
    return Interactions(
        item_ids=np.array(items, np.int32),
        offsets=np.cumsum([0, *map(len, histories)]),
        times=None,
        num_items=max(items),
        time_is_order=False,
        fingerprint="f",
        dropped={},
    )


def statistics(histories: list[list[int]]) -> dict[str, float]:
    whole = interactions(histories)
    counts = np.bincount(whole.item_ids, minlength=whole.num_items + 1)[1:]
    repeats = sum(len(history) - len(set(history)) for history in histories)
    return sequence_statistics(whole, counts, repeats)


def test_they_are_the_sums_of_their_formulas():
    rng = np.random.default_rng(0)
    histories = [rng.integers(1, 9, n).tolist() for n in (1, 5, 0, 12, 3)]
    flat = Counter(item for history in histories for item in history)
    pairs = Counter(pair for h in histories for pair in pairwise(h))
    first = Counter(a for (a, _), count in pairs.items() for _ in range(count))
    total, number = sum(flat.values()), sum(pairs.values())
    found = statistics(histories)
    assert found["entropy_bits"] == pytest.approx(
        -sum(c / total * math.log2(c / total) for c in flat.values())
    )
    assert found["conditional_entropy_bits"] == pytest.approx(
        -sum(c / number * math.log2(c / first[a]) for (a, _), c in pairs.items())
    )
    assert found["pairs_that_occur_once"] == sum(c == 1 for c in pairs.values()) / number
    assert found["repeat_of_last_rate"] == sum(c for (a, b), c in pairs.items() if a == b) / number
    assert found["repeat_rate"] == sum(len(h) - len(set(h)) for h in histories) / total


def test_a_cycle_is_known_from_the_item_before():
    found = statistics([[1, 2, 3, 4] * 5])
    assert found["entropy_bits"] == pytest.approx(2)
    assert found["conditional_entropy_bits"] == pytest.approx(0, abs=1e-12)


def test_independent_items_are_not_known_from_the_one_before():
    items = np.random.default_rng(1).integers(1, 5, 40_000).tolist()
    found = statistics([items])
    assert found["conditional_entropy_bits"] == pytest.approx(found["entropy_bits"], abs=0.01)


@pytest.mark.parametrize("exponent", [0.0, 0.6, 1.0, 1.4])
def test_the_exponent_of_a_law_of_zipf_is_found_again(exponent):
    shares = np.arange(1, 501) ** -exponent
    counts = np.random.default_rng(2).permutation(np.round(1e7 * shares / shares.sum()))
    assert zipf_exponent(counts) == pytest.approx(exponent, abs=0.002)


def test_histories_of_one_item_have_no_pairs():
    assert set(statistics([[1], [2], [2]])) == {"entropy_bits", "zipf_exponent", "repeat_rate"}


def test_data_describe_has_them(tmp_path):
    path = tmp_path / "rows.csv"
    rows = [f"{u},{(u + k) % 7}\n" for u in range(9) for k in range(4)]
    path.write_text("user,item\n" + "".join(rows))
    data = describe(Dataset(request(str(path), None, {}).spec))
    assert data["sequence"]["conditional_entropy_bits"] == pytest.approx(0, abs=1e-12)
    assert data["sequence"]["entropy_bits"] > 2.7
