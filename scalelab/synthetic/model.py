"""Generate a synthetic data set from options, and rank by its true next-item probabilities."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from scalelab.core.cores import available_cores
from scalelab.core.errors import SpecError
from scalelab.core.host_memory import host_bytes
from scalelab.core.units import format_bytes
from scalelab.datasets.arrays import new_array
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.splits import HeldOut
from scalelab.ranking.metrics import ranking_metrics
from scalelab.synthetic.draws import Law, fill_lengths
from scalelab.synthetic.histories import fill_histories
from scalelab.synthetic.oracle import find_places

__all__ = ["Synthetic"]

# Bytes that a user takes in arrays of lengths, starts and ends and of the splits; and an item.
_A_USER, _AN_ITEM = 96, 4

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True)
class Synthetic:
    """A catalog of Zipf popularity, users of a few tastes, and successors of every item.

    The next item is, with probability `transition`, one of the last item's `num_successors`
    successors (of the same taste; the k-th weighs `sharpness` ** k); with probability `taste`, an
    item of one of the user's `tastes_per_user` tastes (the m-th weighs 2 ** -m) by its popularity
    there; else any item by popularity. Popularity falls as rank ** -exponent. Unless `repeats`, an
    item that the user has had is drawn anew. Histories have `min_length` items plus a geometric
    excess up to `max_length`; `num_interactions`, where given, sets their mean (so that there are
    about so many) in the place of `mean_length`. There are no times. Raises SpecError for options
    that contradict each other.
    """

    num_items: Annotated[int, Field(gt=1, lt=2**31 - 1, description="items of the catalog")] = 5_000
    num_users: Annotated[Count, Field(description="number of users")] = 10_000
    mean_length: Annotated[float, Field(ge=1, description="mean number of items of a history")] = (
        20.0
    )
    num_interactions: Annotated[
        int,
        Field(ge=0, description="about how many interactions in all; 0: follows from mean_length"),
    ] = 0
    min_length: Annotated[Count, Field(description="fewest items of a history")] = 5
    max_length: Annotated[Count, Field(description="most items of a history")] = 200
    exponent: Annotated[
        float,
        Field(ge=0, le=4, description="exponent of the popularity of items: rank ** -exponent"),
    ] = 1.0
    transition: Annotated[
        Share, Field(description="share of next items that follow from the last one")
    ] = 0.6
    taste: Annotated[
        Share, Field(description="share of next items that are of the user's tastes")
    ] = 0.3
    tastes_per_user: Annotated[
        int, Field(gt=0, le=16, description="number of tastes of a user")
    ] = 3
    items_per_taste: Annotated[Count, Field(description="number of items of a taste")] = 100
    num_successors: Annotated[
        int, Field(gt=0, le=64, description="number of successors of an item")
    ] = 8
    sharpness: Annotated[
        float, Field(gt=0, le=1, description="weight of the k-th successor: sharpness ** k")
    ] = 0.6
    successor_exponent: Annotated[
        float,
        Field(ge=0, le=4, description="exponent of the popularity by which successors are drawn"),
    ] = 0.5
    repeats: Annotated[bool, Field(description="whether a user may have an item twice")] = False
    data_seed: Annotated[int, Field(ge=0, lt=2**63, description="seed of the generator")] = 0

    def __post_init__(self) -> None:
        if self.transition + self.taste > 1:
            raise SpecError(
                f"transition + taste = {self.transition + self.taste:g} is above 1",
                "lower data.transition or data.taste",
            )
        if not self.min_length <= self._mean_length <= self.max_length:
            raise SpecError(
                f"a mean length of {self._mean_length:g} is not within "
                f"min_length = {self.min_length} and max_length = {self.max_length}",
                "change data.mean_length, data.min_length or data.max_length",
            )
        if not self.repeats and 2 * self.max_length > self.num_items:
            raise SpecError(
                f"histories of {self.max_length} different items need at least "
                f"{2 * self.max_length} items, num_items = {self.num_items}",
                "lower data.max_length, or set data.repeats = true",
            )

    def generate(self, into: Path | None = None) -> Interactions:
        """All histories, drawn on all cores; `into` is a folder for arrays larger than memory.

        Raises SpecError where they would not fit into it.
        """
        if into is None:
            self._check_memory(items=self._mean_length)
        lengths = self.lengths()
        offsets = new_array(len(lengths) + 1, np.int64, into and into / "offsets.npy")
        offsets[0] = 0
        np.cumsum(lengths, out=offsets[1:])
        item_ids = new_array(int(offsets[-1]), np.int32, into and into / "item_ids.npy")
        law = self._law()
        shares = np.cumsum(self._taste_shares()), np.cumsum(self._successor_shares())

        def fill(first: int, last: int) -> None:
            fill_histories(law, first, offsets[first : last + 1], item_ids, *shares, self.repeats)

        _on_all_cores(fill, self.num_users)
        return Interactions(
            item_ids=item_ids,
            offsets=offsets,
            times=None,
            num_items=self.num_items,
            time_is_order=True,
            fingerprint="",
            dropped={},
            oracle=self,
        )

    def lengths(self) -> np.ndarray:
        """Lengths of all histories, int64, without an item being drawn. Raises SpecError."""
        self._check_memory()
        lengths = np.empty(self.num_users, dtype=np.int64)
        fill_lengths(lengths, self.data_seed, self.min_length, self._mean_length, self.max_length)
        return lengths

    def oracle_metrics(
        self, held_out: HeldOut, exclude_seen: bool, ks: Sequence[int]
    ) -> dict[str, float]:
        """`ndcg@k`, `hr@k`, `recall@k`, `mrr@k` over `held_out` of ranking by the true next-item
        probabilities.

        The probabilities are those given the user's hidden tastes and the items so far. Items
        already had are left out where the protocol excludes them, and where they never come again
        (`repeats` false); the rest keep their order. All these metrics fall with the rank, so this
        is the best that any model can expect. A target that is left out counts 0.
        """
        exclude = exclude_seen or not self.repeats
        law = self._law()
        unstride = pow(law.stride, -1, law.num_items)
        shares = self._taste_shares(), self._successor_shares()
        histories = held_out.histories
        above, ties = (np.empty(len(held_out), dtype=np.int64) for _ in range(2))

        def rank(first: int, last: int) -> None:
            part = slice(first, last)
            find_places(
                law, held_out.users[part], histories.starts[part], histories.ends[part],
                histories.item_ids, held_out.targets[part], max(ks), exclude, unstride, *shares,
                above[part], ties[part],
            )  # fmt: skip

        _on_all_cores(rank, len(held_out))
        return ranking_metrics(above, np.maximum(ties, 1), ties == 0, tuple(ks))

    @property
    def options(self) -> dict[str, Any]:
        """All options by name, from which the same model can be made again."""
        return asdict(self)

    @property
    def num_tastes(self) -> int:
        """Number of tastes in the catalog."""
        return max(1, self.num_items // self.items_per_taste)

    @property
    def _mean_length(self) -> float:
        return self.num_interactions / self.num_users or self.mean_length

    def _check_memory(self, items: float = 0.0) -> None:
        """Raises SpecError where the users with so many items each do not fit into memory."""
        needed, there = int((_A_USER + _AN_ITEM * items) * self.num_users), host_bytes()
        if there is not None and needed > there:
            what = f"histories of {items:g} items" if items else "lengths of histories"
            raise SpecError(
                f"{self.num_users} {what} take about {format_bytes(needed)}, and this machine has "
                f"{format_bytes(there)}",
                "lower data.num_users" + (" or data.mean_length" if items else ""),
            )

    def _law(self) -> Law:
        # Ids say nothing of popularity: steps near the golden section spread ranks over them.
        stride = max(1, round(self.num_items * 0.6180339887498949))
        while math.gcd(stride, self.num_items) != 1:
            stride += 1
        return Law(
            seed=self.data_seed,
            num_items=self.num_items,
            num_tastes=self.num_tastes,
            stride=stride,
            exponent=float(self.exponent),
            successor_exponent=float(self.successor_exponent),
            taste=float(self.taste),
            transition=float(self.transition),
        )

    def _taste_shares(self) -> np.ndarray:
        weights = 0.5 ** np.arange(self.tastes_per_user)
        return weights / weights.sum()

    def _successor_shares(self) -> np.ndarray:
        weights = self.sharpness ** np.arange(self.num_successors)
        return weights / weights.sum()


def _on_all_cores(work: Callable[[int, int], None], count: int) -> None:
    """`work(first, last)` over slices of 0..count; the kernels hold no lock."""
    workers = available_cores()
    # More slices than workers: histories are not equally long.
    borders = np.linspace(0, count, min(8 * workers, count) + 1).astype(np.int64)
    with ThreadPoolExecutor(workers) as pool:
        jobs = [pool.submit(work, int(first), int(last)) for first, last in pairwise(borders)]
        for job in jobs:
            job.result()
