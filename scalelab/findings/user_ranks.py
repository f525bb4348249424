"""Compute a metric of each test user from the ranks that the runs have kept."""
# pyarrow has no type stubs.
# pyright: reportMissingTypeStubs=false

from collections.abc import Collection

import numpy as np

from scalelab.core.figures import QUALITY_KEY
from scalelab.findings.differences import KEY, Key, key_of
from scalelab.store.ledger import Ledger

__all__ = ["gains", "has_gains", "user_gains"]

_RANKS = f"""
WITH latest AS (
    SELECT max_by(run_id, (attempt, started_at, run_id)) AS run_id
    FROM results WHERE list_contains($wanted, configuration) GROUP BY fingerprint, device
)
SELECT {", ".join(f"results.{name}" for name in KEY)}, ranks
FROM results SEMI JOIN latest USING (run_id) LEFT JOIN user_ranks USING (run_id)
ORDER BY results.seed, results.run_id
"""
# The gain of a target at rank r, from 1. Ranks are kept where each user has one target, so that
# recall is the hit rate.
_GAINS = {
    "hr": lambda ranks: np.ones(len(ranks)),
    "recall": lambda ranks: np.ones(len(ranks)),
    "ndcg": lambda ranks: 1.0 / np.log2(1.0 + ranks),
    "mrr": lambda ranks: 1.0 / ranks,
}


def has_gains(metric: str) -> bool:
    """Whether a metric, such as ndcg@10, is a mean over users of a gain of their rank."""
    name, _, k = metric.partition("@")
    return name in _GAINS and k.isdigit()


def gains(ranks: np.ndarray, metric: str = QUALITY_KEY) -> np.ndarray:
    """The metric of each user by the rank of its one target: from 1, and 0 for one without."""
    name, _, k = metric.partition("@")
    return np.where((ranks > 0) & (ranks <= int(k)), _GAINS[name](np.maximum(ranks, 1)), 0.0)


def user_gains(
    ledger: Ledger, keys: Collection[Key], metric: str = QUALITY_KEY
) -> dict[Key, np.ndarray]:
    """A metric of each test user, the mean over seeds; only where every seed has kept its ranks."""
    wanted, sought = sorted({key[0] for key in keys}), {*keys}
    table = ledger.query(_RANKS, {"wanted": wanted})
    ranks, named = table["ranks"], table.drop_columns(["ranks"]).to_pylist()
    found: dict[Key, list[np.ndarray | None]] = {}
    for place, row in enumerate(named):
        if (key := key_of(row)) in sought:
            one = ranks[place]
            own = gains(one.values.to_numpy(), metric) if one.is_valid else None
            found.setdefault(key, []).append(own)
    return {
        key: np.mean([one for one in own if one is not None], axis=0)
        for key, own in found.items()
        if all(one is not None and len(one) for one in own)
        and len({len(one) for one in own if one is not None}) == 1
    }
