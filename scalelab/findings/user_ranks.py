"""Compute a metric of each test user from the ranks that the runs have kept."""
# pyarrow has no type stubs.
# pyright: reportMissingTypeStubs=false

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from scalelab.core.figures import QUALITY_KEY
from scalelab.findings.differences import KEY, Key, key_of
from scalelab.store.ledger import Ledger

__all__ = ["UserGains", "comparable", "gains", "gains_of_users", "has_gains", "user_gains"]

_RANKS = f"""
WITH latest AS (
    SELECT max_by(run_id, (attempt, started_at, run_id)) AS run_id
    FROM results WHERE list_contains($wanted, configuration) GROUP BY fingerprint, device
)
SELECT {", ".join(f"results.{name}" for name in KEY)}, ranks, num_targets, one_list
FROM results SEMI JOIN latest USING (run_id) LEFT JOIN user_ranks USING (run_id)
ORDER BY results.seed, results.run_id
"""
# The gain of a target at rank r, from 1, of a list that is to find this target alone: there recall
# is the hit rate.
_GAINS = {
    "hr": lambda ranks: np.ones(len(ranks)),
    "recall": lambda ranks: np.ones(len(ranks)),
    "ndcg": lambda ranks: 1.0 / np.log2(1.0 + ranks),
    "mrr": lambda ranks: 1.0 / ranks,
}


class UserGains(NamedTuple):
    """A metric of each test user: the sum over his lists, and how many they are (None: one each).

    The metric of a run is the sum of the first over that of the second.
    """

    sums: np.ndarray
    num_lists: np.ndarray | None


def has_gains(metric: str) -> bool:
    """Whether a metric, such as ndcg@10, is a mean over lists of a gain of the targets' ranks."""
    name, _, k = metric.partition("@")
    return name in _GAINS and k.isdigit()


def gains(ranks: np.ndarray, metric: str = QUALITY_KEY) -> np.ndarray:
    """The metric of each list by the rank of its one target: from 1, and 0 for one without."""
    name, _, k = metric.partition("@")
    return np.where((ranks > 0) & (ranks <= int(k)), _GAINS[name](np.maximum(ranks, 1)), 0.0)


def gains_of_users(
    ranks: np.ndarray, num_targets: np.ndarray | None, one_list: bool, metric: str = QUALITY_KEY
) -> UserGains:
    """The metric of each user, who has `num_targets` of `ranks`; see `UserRanks` in the records."""
    own = gains(ranks, metric)
    if num_targets is None:
        return UserGains(own, None)
    sizes = num_targets.astype(np.int64)
    begins = np.cumsum(sizes) - sizes
    if not one_list:
        return UserGains(np.add.reduceat(own, begins), sizes)
    name, _, k = metric.partition("@")
    if name in ("hr", "mrr"):  # that of the best target
        return UserGains(np.maximum.reduceat(own, begins), None)
    most = sizes if name == "recall" else np.minimum(sizes, int(k))
    ideal = np.concatenate([[0.0], np.cumsum(_GAINS[name](np.arange(1, 1 + most.max())))])
    return UserGains(np.add.reduceat(own, begins) / ideal[most], None)


def user_gains(
    ledger: Ledger, keys: Collection[Key], metric: str = QUALITY_KEY
) -> dict[Key, UserGains]:
    """A metric of each test user, the mean over seeds; only where every seed has kept its ranks."""
    wanted, sought = sorted({key[0] for key in keys}), {*keys}
    table = ledger.query(_RANKS, {"wanted": wanted})
    of_runs = [table[name] for name in ("ranks", "num_targets", "one_list")]
    named = table.drop_columns(["ranks", "num_targets", "one_list"]).to_pylist()
    found: dict[Key, list[UserGains | None]] = {}
    for place, row in enumerate(named):
        if (key := key_of(row)) in sought:
            ranks, number, one_list = (column[place] for column in of_runs)
            own = None
            if ranks.is_valid:
                several = number.values.to_numpy() if number.is_valid else None
                own = gains_of_users(ranks.values.to_numpy(), several, one_list.as_py(), metric)
            found.setdefault(key, []).append(own)
    means = {key: _mean(own) for key, own in found.items()}
    return {key: mean for key, mean in means.items() if mean is not None}


def comparable(one: UserGains, other: UserGains) -> bool:
    """Whether they are of the same users, as far as can be seen: as many, with as many lists."""
    return len(one.sums) == len(other.sums) and np.array_equal(
        1 if one.num_lists is None else one.num_lists,
        1 if other.num_lists is None else other.num_lists,
    )


def _mean(own: Sequence[UserGains | None]) -> UserGains | None:
    known = [one for one in own if one is not None and len(one.sums)]
    if len(known) < len(own) or not all(comparable(known[0], one) for one in known):
        return None
    return UserGains(np.mean([one.sums for one in known], axis=0), known[0].num_lists)
