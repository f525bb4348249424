"""Compute ranking metrics from how many items score above, or the same as, held-out targets.

Where one item is relevant, the target, and it has rank r (from 1) the gains are

    HR@k = Recall@k = 1,  NDCG@k = 1 / log2(1 + r),  MRR@k = 1 / r   if r <= k, else 0.

Items with the target's own score leave its rank open: with a items above and t items (the target
included) at the same score, each of the ranks a + 1 ... a + t is equally likely, and the gain is
the mean over these. Example: a = 2, t = 3, k = 4. The rank is 3, 4 or 5, so HR@4 = 2/3, MRR@4 =
(1/3 + 1/4 + 0) / 3, and NDCG@4 = (1/log2(4) + 1/log2(5) + 0) / 3. A model that gives all items the
same score is so as good as chance, not perfect and not useless.

Where one list is to find n targets (`groups`), with ranks r_1 < r_2 < ... in the whole list,

    Recall@k = (targets with r <= k) / n,
    NDCG@k = sum of 1 / log2(1 + r) over r <= k, divided by the same sum over r = 1 ... min(k, n),
    HR@k = 1 and MRR@k = 1 / r_1 if r_1 <= k, else 0.

The first two are sums over targets, so their means over tied ranks are those of each target. For
the others r_1 matters alone: with m targets among the t items at the best target's score, the first
of them stands j-th of these with probability C(t - j, m - 1) / C(t, m).
"""

from typing import NamedTuple

import numpy as np

from scalelab.datasets.evaluated import begins_of_runs

__all__ = ["KS", "TargetRanks", "ranking_metrics", "user_ranks"]

# The lengths of the lists that are evaluated where a run names no others.
KS = (1, 5, 10, 20)


class TargetRanks(NamedTuple):
    """The rank of each target, from 1, those of a user side by side; 0 for one that is missed.

    `num_targets` says how many each user has (None: one each). With `one_list` one list is to find
    all targets of a user, else each has a list of its own.
    """

    ranks: np.ndarray
    num_targets: np.ndarray | None
    one_list: bool


def ranking_metrics(
    above: np.ndarray,
    ties: np.ndarray,
    missed: np.ndarray | None,
    ks: tuple[int, ...],
    *,
    groups: np.ndarray | None = None,
) -> dict[str, float]:
    """`hr@k`, `recall@k`, `ndcg@k` and `mrr@k`, means over lists.

    `above` and `ties` are a and t of each target, as above. Where `missed` is True the target's
    gain is 0: it could not be recommended, since it was excluded as seen. `groups` says which list
    is to find a target; those of a list stand side by side. None: each has a list of its own.
    """
    counted = np.ones(len(above)) if missed is None else 1.0 - missed
    ranks = np.arange(1, max(ks) + 1)
    gains = {"hr": np.ones(len(ranks)), "ndcg": 1 / np.log2(1 + ranks), "mrr": 1 / ranks}
    if groups is not None:
        begins = begins_of_runs(groups)
        return _of_lists(above, ties, counted, ks, begins=begins, gains=gains)
    metrics = {
        f"{name}@{k}": float((_expected(gain, above, ties, k) * counted).mean())
        for name, gain in gains.items()
        for k in ks
    }
    return metrics | {f"recall@{k}": metrics[f"hr@{k}"] for k in ks}


def _expected(gain: np.ndarray, above: np.ndarray, ties: np.ndarray, k: int) -> np.ndarray:
    """The mean gain of each target over the ranks that it may have; gain[r - 1] is that of r."""
    # The gains of all ranks up to r, so that a difference is the sum over a range of ranks.
    up_to_rank = np.concatenate([[0.0], np.cumsum(gain)])
    first, last = np.minimum(k, above), np.minimum(k, above + ties)
    return (up_to_rank[last] - up_to_rank[first]) / ties


def _of_lists(
    above: np.ndarray,
    ties: np.ndarray,
    counted: np.ndarray,
    ks: tuple[int, ...],
    *,
    begins: np.ndarray,
    gains: dict[str, np.ndarray],
) -> dict[str, float]:
    sizes = np.diff(np.append(begins, len(above)))
    ideal = np.cumsum(gains["ndcg"])
    metrics = {}
    for k in ks:
        found = np.add.reduceat(_expected(gains["hr"], above, ties, k) * counted, begins)
        gained = np.add.reduceat(_expected(gains["ndcg"], above, ties, k) * counted, begins)
        metrics[f"recall@{k}"] = float((found / sizes).mean())
        metrics[f"ndcg@{k}"] = float((gained / ideal[np.minimum(k, sizes) - 1]).mean())
    # The best target of each list: those that are missed stand behind all others.
    place = np.where(counted > 0, above, np.iinfo(np.int64).max)
    best = np.minimum.reduceat(place, begins)
    is_best = (place == np.repeat(best, sizes)) & (counted > 0)
    level = np.maximum.reduceat(np.where(is_best, ties, 0), begins)
    targets = np.add.reduceat(is_best.astype(np.int64), begins)
    first = np.minimum(best, max(ks))
    sums = {f"{name}@{k}": np.zeros(len(begins)) for name in ("hr", "mrr") for k in ks}
    open_share = np.where(targets > 0, 1.0, 0.0)  # that no target stood among those before
    for offset in range(1, max(ks) + 1):
        here = open_share * np.minimum(targets / np.maximum(level - offset + 1, 1), 1.0)
        open_share = open_share - here
        rank = first + offset
        for k in ks:
            sums[f"hr@{k}"] += here * (rank <= k)
            sums[f"mrr@{k}"] += here * (rank <= k) / rank
    return metrics | {name: float(each.mean()) for name, each in sums.items()}


def user_ranks(
    above: np.ndarray,
    ties: np.ndarray,
    missed: np.ndarray | None,
    *,
    users: np.ndarray | None = None,
    one_list: bool = False,
    seed: int = 0,
) -> TargetRanks:
    """One rank of each target, uint32. `users` says whose it is, side by side (None: one each).

    Among equal scores the rank is drawn, so that the gains are right on average; targets of one
    list never get the same. The draw of a target is the same for every model on the same users:
    what differs between two models is not luck.
    """
    drawn = np.random.default_rng(seed).random(len(above))
    places = np.floor(drawn * ties).astype(np.int64)
    begins = np.arange(len(above)) if users is None else begins_of_runs(users)
    sizes = np.diff(np.append(begins, len(above)))
    counted = np.ones(len(above), bool) if missed is None else ~missed
    if one_list and counted.any():
        lists = np.repeat(np.arange(len(sizes)), sizes)
        _draw_apart(places, drawn, lists=lists, above=above, ties=ties, counted=counted)
    ranks = np.where(counted, above + 1 + places, 0).astype(np.uint32)
    return TargetRanks(ranks, None if (sizes == 1).all() else sizes.astype(np.uint32), one_list)


def _draw_apart(
    places: np.ndarray,
    drawn: np.ndarray,
    *,
    lists: np.ndarray,
    above: np.ndarray,
    ties: np.ndarray,
    counted: np.ndarray,
) -> None:
    """Give targets of one list and one score different places among equal scores, in place."""
    order = np.lexsort((above, lists))
    order = order[counted[order]]
    starts_anew = (np.diff(lists[order]) != 0) | (np.diff(above[order]) != 0)
    begins = np.concatenate([[0], np.flatnonzero(starts_anew) + 1])
    ends = np.append(begins[1:], len(order))
    # Behind the longest list equal scores are not counted: whatever is drawn there is a miss.
    is_drawn = (ends - begins > 1) & (ends - begins <= ties[order[begins]])
    for begin, end in zip(begins[is_drawn], ends[is_drawn], strict=True):
        taken: list[int] = []
        for target in order[begin:end]:
            # One of the places that are left, counted from the first.
            place = int(drawn[target] * (ties[target] - len(taken)))
            for one in sorted(taken):
                place += one <= place
            places[target] = place
            taken.append(place)
