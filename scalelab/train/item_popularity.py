"""Say how popular the items of the lists are that a model recommends, and those that users took."""

import numpy as np

from scalelab.batches.drawing import catalog_of
from scalelab.datasets.interactions import Histories

__all__ = ["PopularityOfLists", "item_popularity"]


def item_popularity(train: Histories, num_items: int) -> np.ndarray:
    """(V) float32: the share of the catalog that occurs less often in training than an item.

    Of items that occur equally often half count, so that the mean over the catalog is 1/2.
    """
    counts = catalog_of(train, num_items).counts_V[1:]
    kinds, sizes = np.unique(counts, return_counts=True)
    middle = (np.cumsum(sizes) - sizes / 2) / num_items
    found = np.zeros(num_items + 1, dtype=np.float32)  # padding is in no list
    found[1:] = middle[np.searchsorted(kinds, counts)]
    return found


class PopularityOfLists:
    """Means of `popularity_V` over the first places of many lists."""

    def __init__(self, popularity_V: np.ndarray, num_places: int) -> None:
        self._popularity_V = popularity_V
        # By place: popularity over all lists, and how many lists have an item there.
        self._sums_k = np.zeros(num_places)
        self._counts_k = np.zeros(num_places, dtype=np.int64)

    def add(self, items_Sk: np.ndarray) -> None:
        """Note these lists; 0 stands for no item."""
        num_places = items_Sk.shape[1]
        self._sums_k[:num_places] += self._popularity_V[items_Sk].sum(0, dtype=np.float64)
        self._counts_k[:num_places] += (items_Sk > 0).sum(0)

    def metrics(self, ks: tuple[int, ...], targets: np.ndarray) -> dict[str, float]:
        """`popularity@k` over all items of all lists, and `target_popularity` over the targets."""
        found = {"target_popularity": float(self._popularity_V[targets].mean(dtype=np.float64))}
        if self._counts_k.any():  # users may have seen all items there are
            found |= {
                f"popularity@{k}": float(self._sums_k[:k].sum() / self._counts_k[:k].sum())
                for k in ks
            }
        return found
