"""Read the last attempt of each run, by its fingerprint, from the ledger."""
# pyarrow has no type stubs.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Sequence
from typing import Any

from scalelab.store.ledger import Ledger

__all__ = ["latest"]

_SQL = """
    SELECT run_id, fingerprint, configuration, outcome, phase, error, data_fingerprint, protocol,
           device, results_version, num_items, loss, seed,
           valid_ndcg_10, test_ndcg_10, oracle_ndcg_10,
           peak_bytes, predicted_peak_bytes, train_s, eval_s, wall_s, tokens_per_s, epochs,
           best_epoch,
           (
               SELECT max(value) FILTER (name = 'num_repeated') / max(value) FILTER (
                   name = 'num_users')
               FROM metrics WHERE metrics.run_id = runs.run_id AND split = 'test'
           ) AS test_seen_before
    FROM runs
    WHERE list_contains($1, fingerprint)
    QUALIFY row_number() OVER (PARTITION BY fingerprint ORDER BY attempt DESC, started_at DESC) = 1
"""


def latest(ledger: Ledger, fingerprints: Sequence[str]) -> list[dict[str, Any]]:
    """Outcome, quality, peak and time of those that are there, in no order. Raises LedgerError."""
    rows: list[dict[str, Any]] = ledger.query(_SQL, [list(fingerprints)]).to_pylist()
    return rows
