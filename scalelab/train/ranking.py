"""Compute HR@k, NDCG@k and MRR@k from the ranks of the held-out targets.

One item is relevant per user, the target. Where it has rank r (from 1) the gains are

    HR@k = 1,  NDCG@k = 1 / log2(1 + r),  MRR@k = 1 / r   if r <= k, else 0.

Items with the target's own score leave its rank open: with a items above and t items (the target
included) at the same score, each of the ranks a + 1 ... a + t is equally likely, and the gain is
the mean over these. Example: a = 2, t = 3, k = 4. The rank is 3, 4 or 5, so HR@4 = 2/3, MRR@4 =
(1/3 + 1/4 + 0) / 3, and NDCG@4 = (1/log2(4) + 1/log2(5) + 0) / 3. A model that gives all items the
same score is so as good as chance, not perfect and not useless.
"""

import numpy as np

__all__ = ["KS", "evaluated_users", "ranking_metrics", "user_ranks"]

# The lengths of the lists that are evaluated.
KS = (1, 5, 10, 20)


def ranking_metrics(
    above: np.ndarray, ties: np.ndarray, missed: np.ndarray | None, ks: tuple[int, ...]
) -> dict[str, float]:
    """`hr@k`, `ndcg@k` and `mrr@k`, means over users.

    `above` and `ties` are a and t of each user, as above. Where `missed` is True the user's gain
    is 0: the target could not be recommended, since it was excluded as seen.
    """
    counted = np.ones(len(above)) if missed is None else 1.0 - missed
    ranks = np.arange(1, max(ks) + 1)
    gains = {"hr": np.ones(len(ranks)), "ndcg": 1 / np.log2(1 + ranks), "mrr": 1 / ranks}
    metrics = {}
    for name, gain in gains.items():
        # The gains of all ranks up to r, so that a difference is the sum over a range of ranks.
        up_to_rank = np.concatenate([[0.0], np.cumsum(gain)])
        for k in ks:
            first, last = np.minimum(k, above), np.minimum(k, above + ties)
            expected = (up_to_rank[last] - up_to_rank[first]) / ties
            metrics[f"{name}@{k}"] = float((expected * counted).mean())
    return metrics


def user_ranks(
    above: np.ndarray, ties: np.ndarray, missed: np.ndarray | None, *, seed: int = 0
) -> np.ndarray:
    """(n) uint32: one rank of each user's target, from 1; 0 where `missed` is True.

    Among equal scores the rank is drawn, so that the gains are right on average. The draw of a user
    is the same for every model on the same users: what differs between two models is not luck.
    """
    drawn = np.random.default_rng(seed).random(len(above))
    ranks = above + 1 + np.floor(drawn * ties).astype(np.int64)
    return (ranks if missed is None else np.where(missed, 0, ranks)).astype(np.uint32)


def evaluated_users(lengths: np.ndarray, max_users: int = 0) -> np.ndarray:
    """Indices of the users that are ranked for: all with a history, or `max_users` of them, evenly
    spaced.
    """
    users = np.flatnonzero(lengths > 0)
    if 0 < max_users < len(users):
        users = users[np.linspace(0, len(users) - 1, max_users).astype(np.int64)]
    return users
