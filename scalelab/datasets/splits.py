"""Split interactions into histories to train on and held-out targets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numba import njit

from scalelab.core.errors import DataError
from scalelab.datasets.evaluated import evaluated_rows
from scalelab.datasets.interactions import Histories, Interactions
from scalelab.datasets.nth_time import nth_time

__all__ = [
    "SHORTEST",
    "HeldOut",
    "Split",
    "cut_time",
    "held_out_at",
    "known_items",
    "leave_one_out",
    "split_lengths",
    "temporal",
]

# One item to train on or to rank from, one to validate and one to test.
SHORTEST = 3


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """Targets to be ranked: the model sees `histories[n]` and is to rank `targets[n]`.

    `targets` (int32) and `users` (int32, rows of the interactions) have length n; a user has one
    target or several, side by side. With `as_sets` those of a user share a history, and one list is
    to find them all. `num_repeated` counts targets that occur in their own history, `num_unseen`
    those that no training history has.
    """

    histories: Histories
    targets: np.ndarray
    users: np.ndarray
    num_repeated: int
    num_unseen: int = 0
    as_sets: bool = False

    def __len__(self) -> int:
        return len(self.targets)

    def evaluated(self, max_users: int = 0) -> np.ndarray:
        """The rows that are ranked for: all with a history, or those of `max_users` users."""
        return evaluated_rows(self.histories.lengths, max_users, self.users)


@dataclass(frozen=True, kw_only=True)
class Split:
    """Training histories (one per training user), validation and test.

    `dropped` counts who or what was left out.
    `find_oracle` computes the metrics of the best ranking of `test` for lists of some lengths; only
    synthetic data know it.
    """

    train: Histories
    valid: HeldOut
    test: HeldOut
    dropped: dict[str, int]
    num_items: int
    find_oracle: Callable[[Sequence[int]], dict[str, float]] | None = None

    def oracle_metrics(self, ks: Sequence[int]) -> dict[str, float]:
        """`ndcg@k`, `hr@k`, `recall@k`, `mrr@k` of ranking the test targets by their true
        probabilities; empty where these are unknown.
        """
        return {} if self.find_oracle is None else self.find_oracle(ks)


def leave_one_out(interactions: Interactions, test_items: int = 1) -> Split:
    """Each user's last item is the test target, the second last the validation target.

    With more `test_items` the item before the last `test_items` is the validation target, and none
    of these is trained on; the test target is still the last one, ranked from all before it.
    Users with fewer than `test_items` + 2 items are trained on whole and not evaluated; they are
    counted. Raises DataError when no user is long enough.
    """
    starts, ends = interactions.offsets[:-1], interactions.offsets[1:]
    long_enough = _long_enough(ends - starts, test_items)
    users = np.flatnonzero(long_enough)
    train = Histories(
        item_ids=interactions.item_ids,
        starts=starts,
        ends=np.where(long_enough, ends - test_items - 1, ends),
    )
    dropped = {"users too short to be evaluated (trained on whole)": len(starts) - len(users)}
    return _with_targets(interactions, train, users=users, dropped=dropped, test_items=test_items)


def temporal(interactions: Interactions, quantile: float, last: int | None = None) -> Split:
    """The split of RECE (Gusak et al., 2024, section 4).

    The cut is the `quantile` of the times of all interactions, or `last` where it is given. Users
    with an interaction after it are test users and take no part in training; their last item is
    the test target, their second last the validation target. Everybody else is trained on whole.
    Test users with fewer than 3 items are dropped and counted. Raises DataError when times are
    missing or only an order, or when either side is empty.
    """
    times = interactions.times
    if times is None or interactions.time_is_order:
        raise DataError(
            "a temporal split needs clock times; here times are only the order within a user",
            'set data.split = "leave_one_out", or take a data set with timestamps',
        )
    cut = cut_time(times, quantile) if last is None else last
    is_test = _last_times(times, interactions.offsets) > cut
    long_enough = np.diff(interactions.offsets) >= SHORTEST
    users = np.flatnonzero(is_test & long_enough)
    trained = np.flatnonzero(~is_test)
    if len(users) == 0 or len(trained) == 0:
        missing = "test user with 3 interactions" if len(trained) else "training user"
        raise DataError(
            f"the temporal split at "
            f"{f'quantile {quantile:g} (time {cut})' if last is None else f'the time {cut}'} "
            f"leaves no {missing}",
            "change data.quantile or data.cut, or take another data set",
        )
    starts, ends = interactions.offsets[:-1], interactions.offsets[1:]
    train = Histories(item_ids=interactions.item_ids, starts=starts[trained], ends=ends[trained])
    dropped = {"test users too short to be evaluated": int(is_test.sum()) - len(users)}
    return _with_targets(interactions, train, users=users, dropped=dropped)


def cut_time(times: np.ndarray, quantile: float) -> int:
    """The smallest time that at least the share `quantile` of all interactions does not exceed."""
    return nth_time(times, max(int(np.ceil(quantile * len(times))) - 1, 0))


def split_lengths(
    lengths: np.ndarray, test_items: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lengths of train, validation and test histories of `leave_one_out`, from whole lengths.

    Raises DataError as that does.
    """
    long_enough = _long_enough(lengths, test_items)
    evaluated, held_out = lengths[long_enough], test_items + 1
    train = np.where(long_enough, lengths - held_out, lengths)
    return train, evaluated - held_out, evaluated - 1


def _long_enough(lengths: np.ndarray, test_items: int) -> np.ndarray:
    """Which histories `leave_one_out` evaluates, bool. Raises DataError where none is."""
    shortest = SHORTEST - 1 + test_items
    found = lengths >= shortest
    if not found.any():
        raise DataError(
            f"leave-one-out needs a user with {shortest} interactions; the longest history has "
            f"{int(lengths.max())}",
            "take another data set, or lower data.min_item_count and data.min_user_count",
        )
    return found


def _with_targets(
    interactions: Interactions,
    train: Histories,
    *,
    users: np.ndarray,
    dropped: dict[str, int],
    test_items: int = 1,
) -> Split:
    known = known_items(interactions, train)
    ends = interactions.offsets[users + 1]
    return Split(
        train=train,
        valid=held_out_at(interactions, users=users, places=ends - test_items - 1, known=known),
        test=held_out_at(interactions, users=users, places=ends - 1, known=known),
        dropped={reason: count for reason, count in dropped.items() if count},
        num_items=interactions.num_items,
    )


def known_items(interactions: Interactions, train: Histories) -> np.ndarray:
    """Which items, from 0, occur in the training histories."""
    known = np.zeros(interactions.num_items + 1, dtype=np.bool_)
    _mark(train.item_ids, train.starts, train.ends, known)
    return known


def held_out_at(
    interactions: Interactions,
    *,
    users: np.ndarray,
    places: np.ndarray,
    known: np.ndarray,
    ends: np.ndarray | None = None,
) -> HeldOut:
    """The items at `places` as targets of `users`; histories end before them, or at `ends`."""
    starts, ends = interactions.offsets[users], places if ends is None else ends
    targets = np.asarray(interactions.item_ids[places], dtype=np.int32)
    return HeldOut(
        histories=Histories(item_ids=interactions.item_ids, starts=starts, ends=ends),
        targets=targets,
        users=users.astype(np.int32),
        num_repeated=int(_count_repeated(interactions.item_ids, starts, ends, targets)),
        num_unseen=int((~known[targets]).sum()),
    )


def _last_times(times: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    return times[offsets[1:] - 1]


@njit(nogil=True, cache=True)
def _mark(item_ids, starts, ends, known):
    for user in range(len(starts)):
        for at in range(starts[user], ends[user]):
            known[item_ids[at]] = True


@njit(nogil=True, cache=True)
def _count_repeated(item_ids, starts, ends, targets):
    repeated = 0
    for n in range(len(targets)):
        for at in range(starts[n], ends[n]):
            if item_ids[at] == targets[n]:
                repeated += 1
                break
    return repeated
