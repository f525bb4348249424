"""The popularity of an item is the share of the catalog that occurs less often in training."""

import numpy as np
import pytest

from scalelab.datasets.interactions import Histories
from scalelab.train.item_popularity import item_popularity


def test_it_is_that_of_a_count_item_by_item() -> None:
    rng = np.random.default_rng(0)
    num_items = 40
    item_ids = (1 + (num_items - 5) * rng.random(300) ** 2).astype(np.int32)
    starts = np.arange(0, 300, 10)
    # What lies between the training histories is held out.
    train = Histories(item_ids=item_ids, starts=starts, ends=starts + 7)
    trained = np.concatenate([train[user] for user in range(len(train))])
    counts = [int((trained == item).sum()) for item in range(1, num_items + 1)]
    found = item_popularity(train, num_items)
    assert found[0] == 0
    for item, count in enumerate(counts, 1):
        less = sum(other < count for other in counts)
        same = sum(other == count for other in counts)
        assert found[item] == pytest.approx((less + same / 2) / num_items)
    assert found[1:].mean() == pytest.approx(0.5)
    assert counts.count(0) > 3
