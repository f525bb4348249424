"""Hold the histories of users: item ids, offsets and times."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from scalelab.core.errors import DataError

if TYPE_CHECKING:
    from scalelab.datasets.splits import HeldOut

__all__ = ["Histories", "Interactions", "Oracle"]


class Oracle(Protocol):
    """What knows the true next-item probabilities of a data set: the model that generated it."""

    def oracle_metrics(
        self, held_out: "HeldOut", exclude_seen: bool, ks: Sequence[int]
    ) -> dict[str, float]:
        """`ndcg@k`, `hr@k`, `recall@k`, `mrr@k` of ranking the targets of `held_out` by their true
        probabilities: no model can expect more.
        """
        ...

    @property
    def options(self) -> dict[str, Any]:
        """The model's options, from which it can be made again."""
        ...


@dataclass(frozen=True, kw_only=True)
class Histories:
    """Slices of one array of items: user u has `item_ids[starts[u]:ends[u]]`, oldest first.

    A view: splits share `item_ids` (int32, 1..num_items, possibly memory-mapped) and hold only
    `starts` and `ends` (int64). An empty slice is a user who takes no part.
    """

    item_ids: np.ndarray
    starts: np.ndarray
    ends: np.ndarray

    @property
    def lengths(self) -> np.ndarray:
        """Number of items of each user, int64."""
        return self.ends - self.starts

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, user: int) -> np.ndarray:
        return self.item_ids[self.starts[user] : self.ends[user]]


@dataclass(frozen=True, kw_only=True)
class Interactions:
    """All interactions: `item_ids` (int32, 1..num_items), one user after the other, and `offsets`
    (int64, users + 1): user u has `item_ids[offsets[u] : offsets[u + 1]]`, oldest first.

    `times` is int64 in `time_unit` ("s", "ms", "us", "ns" since 1970 in UTC; "" where numbers have
    no known unit), or None; `times_read_as` says in words how the file writes them.
    `time_is_order` says that times are only positions in a history, comparable within a user and
    not between users. `columns` says where in the file user, item and time stand, empty where none
    was read. `find_original_ids` gives the file's own ids of items 1, 2, ..., int64 or text; None
    where there are none. `find_user_ids` gives those of the users, where the reader kept them.
    `oracle` knows the true probabilities; only whole synthetic data have
    one.
    """

    item_ids: np.ndarray
    offsets: np.ndarray
    times: np.ndarray | None
    num_items: int
    time_is_order: bool
    fingerprint: str
    dropped: dict[str, int]
    time_unit: str = ""
    columns: dict[str, str] = field(default_factory=dict)
    times_read_as: str = ""
    find_original_ids: Callable[[], np.ndarray] | None = field(
        default=None, compare=False, repr=False
    )
    find_user_ids: Callable[[], np.ndarray] | None = field(default=None, compare=False, repr=False)
    oracle: Oracle | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if len(self.item_ids) == 0 or len(self.offsets) < 2:
            raise DataError("the data set holds no interactions", "check path, columns and filters")

    @property
    def num_users(self) -> int:
        """Users with at least one interaction."""
        return len(self.offsets) - 1

    @property
    def num_interactions(self) -> int:
        """Rows after filtering."""
        return len(self.item_ids)

    @property
    def histories(self) -> Histories:
        """All users' whole histories."""
        return Histories(item_ids=self.item_ids, starts=self.offsets[:-1], ends=self.offsets[1:])
