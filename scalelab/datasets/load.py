"""Load the data set that a data spec requests: interactions, fingerprint, split and lengths."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np

from scalelab.core.errors import DataError
from scalelab.core.spec import DataSpec
from scalelab.datasets.ahead import ahead_lengths, whole_and_untrained
from scalelab.datasets.by_session import by_session
from scalelab.datasets.clock import clock_of
from scalelab.datasets.evaluated import begins_of_runs, evaluated_rows
from scalelab.datasets.filters import keep_core
from scalelab.datasets.global_time import global_time, moment
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.left_items import LeftItems, left_items
from scalelab.datasets.order import arrange
from scalelab.datasets.sources import DataSource, digest, resolve
from scalelab.datasets.splits import HeldOut, Split, leave_one_out, split_lengths, temporal

__all__ = ["Dataset", "LengthsOnly", "fingerprint", "lengths", "load", "split"]


@dataclass(frozen=True, kw_only=True)
class LengthsOnly:
    """What a planner needs: lengths (int64) of train, validation and test histories, and counts.

    `valid_users` and `test_users` say whose a target is, those of a user side by side; None where
    each user has one. `num_eval_users` is how many of the test users are evaluated
    (`data.max_eval_users` applied), `num_interactions` how many all users have together, whether
    or not the split uses them. `test_whole` and `test_untrained` are what `whole_and_untrained`
    says of the users of `test`; `has_times` whether there are times, `has_clock` whether
    they are those of a clock, `is_mapped` whether they and the items are memory-mapped from files.
    `left` says whom the data leave no item, where items were read; else `find_left`
    draws them and says it.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    num_items: int
    num_users: int
    num_interactions: int
    num_eval_users: int
    test_whole: np.ndarray
    test_untrained: np.ndarray
    has_clock: bool
    has_times: bool
    is_mapped: bool = False
    valid_users: np.ndarray | None = None
    test_users: np.ndarray | None = None
    left: LeftItems = field(default_factory=LeftItems)
    find_left: Callable[[], LeftItems] | None = None

    def evaluated(self, max_users: int) -> dict[str, np.ndarray]:
        """Lengths of the histories of validation and test that are ranked for."""
        found = {"valid": (self.valid, self.valid_users), "test": (self.test, self.test_users)}
        return {
            split: lengths[evaluated_rows(lengths, max_users, users)]
            for split, (lengths, users) in found.items()
        }

    def ahead(self, max_users: int, steps: int) -> dict[str, np.ndarray]:
        """Lengths of the histories that are ranked for step by step; see `ahead_lengths`."""
        if not steps:
            return {}
        rows = evaluated_rows(self.test, max_users, self.test_users)
        if self.test_users is not None:
            rows = rows[begins_of_runs(self.test_users[rows])]
        return ahead_lengths(self.test_whole[rows], self.test_untrained[rows], steps)


class Dataset:
    """The data set that a spec requests. Its source is resolved here, once.

    Raises DataError and SpecError.
    """

    def __init__(self, data: DataSpec, source: DataSource | None = None) -> None:
        self.spec = data
        self._source = source or resolve(data)

    @property
    def fingerprint(self) -> str:
        """16 hex digits: ids as text and times in UTC in the order of the file, and the filters.

        Neither where the file lies nor its format counts. Generated data have that of their
        options, a compact folder that of what it was made from. Raises DataError.
        """
        data, source = self.spec, self._source.fingerprint
        if (data.ties, data.drop) != ("file", "none"):
            source = digest([source, data.ties, data.drop])
        if data.min_item_count <= 1 and data.min_user_count <= 1:
            return source
        return digest([source, max(data.min_item_count, 1), max(data.min_user_count, 1)])

    def load(self, into: Path | None = None) -> Interactions:
        """Reads and filters. `into` is a folder for arrays larger than memory. Raises DataError."""
        data = self.spec
        interactions = arrange(self._source.read(into), ties=data.ties, drop=data.drop)
        interactions = keep_core(
            interactions, min_item_count=data.min_item_count, min_user_count=data.min_user_count
        )
        # The model's probabilities are those of whole histories.
        oracle = None if interactions.dropped else interactions.oracle
        return replace(interactions, fingerprint=self.fingerprint, oracle=oracle)

    def lengths(self) -> LengthsOnly:
        """Lengths after filters and split. Draws no synthetic item unless a filter needs them."""
        data = self.spec
        unfiltered = data.min_item_count <= 1 and data.min_user_count <= 1 and data.drop == "none"
        known = self._source.lengths() if unfiltered and data.split == "leave_one_out" else None
        users: dict[str, np.ndarray] = {}
        left = LeftItems()
        if known is not None:
            train, valid, test = split_lengths(known.lengths, data.test_items)
            whole, untrained = test + 1, np.full_like(test, data.test_items + 1)
            is_mapped = known.is_mapped
            has_clock = has_times = False  # what is known unread is generated, in an order
            num_items, num_users = known.num_items, len(known.lengths)
            num_interactions = int(known.lengths.sum())
        else:
            interactions = self.load()
            parts = split(interactions, data)
            train = parts.train.lengths
            valid, test = parts.valid.histories.lengths, parts.test.histories.lengths
            num_items, num_users = interactions.num_items, interactions.num_users
            num_interactions = interactions.num_interactions
            whole, untrained = whole_and_untrained(interactions, parts.train, parts.test.users)
            has_clock = clock_of(interactions) is not None
            has_times = interactions.times is not None
            is_mapped = isinstance(interactions.item_ids, np.memmap)
            if targets_of(data) != "last":
                users = {"valid_users": parts.valid.users, "test_users": parts.test.users}
            left = self._left_of(interactions, parts)
        num_test_users = len(np.unique(users["test_users"])) if users else len(test)
        return LengthsOnly(
            train=train,
            valid=valid,
            test=test,
            num_items=num_items,
            num_users=num_users,
            num_interactions=num_interactions,
            num_eval_users=min(data.max_eval_users or num_test_users, num_test_users),
            test_whole=whole,
            test_untrained=untrained,
            has_clock=has_clock,
            has_times=has_times,
            is_mapped=is_mapped,
            left=left,
            find_left=None if known is None else cache(self._find_left),
            **users,
        )

    def _find_left(self) -> LeftItems:
        interactions = self.load()
        return self._left_of(interactions, split(interactions, self.spec))

    def _left_of(self, interactions: Interactions, parts: Split) -> LeftItems:
        several = targets_of(self.spec) != "last"
        users = parts.test.users
        rows = evaluated_rows(
            parts.test.histories.lengths, self.spec.max_eval_users, users if several else None
        )
        whole, untrained = whole_and_untrained(interactions, parts.train, users)
        return left_items(
            interactions, parts, users=users[rows], whole=whole[rows], untrained=untrained[rows]
        )


def load(data: DataSpec, into: Path | None = None) -> Interactions:
    """The interactions that `data` requests; see `Dataset.load`. Raises DataError, SpecError."""
    return Dataset(data).load(into)


def fingerprint(data: DataSpec) -> str:
    """The fingerprint of what `data` requests. Raises DataError, SpecError."""
    return Dataset(data).fingerprint


def lengths(data: DataSpec) -> LengthsOnly:
    """Lengths of what `data` requests; see `Dataset.lengths`. Raises DataError, SpecError."""
    return Dataset(data).lengths()


def split(interactions: Interactions, data: DataSpec) -> Split:
    """The split that `data` requests. Raises DataError where the interactions do not allow it."""
    targets = targets_of(data)
    # Without a cut of its own each split stands where the temporal one does.
    cut = data.quantile if data.cut == "" else data.cut
    if data.split == "global_time":
        return global_time(interactions, cut, data.valid_cut, targets)
    if data.split == "sessions":
        return by_session(interactions, cut, data.valid_cut, targets)
    if targets != "last":
        raise DataError(
            f'data.split = "{data.split}" holds out one target per user, and data.targets = '
            f'"{targets}" needs a window of them',
            'set data.split = "global_time" or "sessions", or leave data.targets out',
        )
    if data.split == "temporal":
        # Interactions at the cut itself belong to the test side, as in global_time.
        last = None if data.cut == "" else moment(interactions, data.cut, "cut") - 1
        return temporal(interactions, data.quantile, last)
    parts = leave_one_out(interactions, data.test_items)
    oracle = interactions.oracle
    if oracle is None:
        return parts
    test = _evenly(parts.test, data.max_eval_users)
    return replace(parts, find_oracle=lambda ks: oracle.oracle_metrics(test, data.exclude_seen, ks))


def targets_of(data: DataSpec) -> str:
    """What of a held-out window is to be ranked: "last", "successive" or "all"."""
    return data.targets or ("successive" if data.split == "sessions" else "last")


def _evenly(held_out: HeldOut, count: int) -> HeldOut:
    """The users that are evaluated, so that oracle and model rank the same targets."""
    if not 0 < count < len(held_out):
        return held_out
    chosen = np.linspace(0, len(held_out) - 1, count).astype(np.int64)
    whole = held_out.histories
    histories = replace(whole, starts=whole.starts[chosen], ends=whole.ends[chosen])
    targets, users = held_out.targets[chosen], held_out.users[chosen]
    return replace(held_out, histories=histories, targets=targets, users=users)
