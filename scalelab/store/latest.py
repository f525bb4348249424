"""Read from the ledger the last attempt of each run, and how many runs are of an older version."""
# pyarrow has no type stubs.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Sequence
from typing import Any

from scalelab.store.ledger import Ledger

__all__ = ["latest", "old_runs"]

_SQL = """
    SELECT run_id, fingerprint, configuration, outcome, phase, error, dataset,
           data_fingerprint, protocol, device, results_version, num_items, num_users, loss, seed,
           quality_metric, valid_quality, test_quality, oracle_quality,
           valid_ndcg_10, test_ndcg_10, oracle_ndcg_10, peak_bytes, eval_peak_bytes,
           predicted_peak_bytes,
           train_s, eval_s, wall_s, tokens_per_s, epochs,
           best_epoch, account_error, tied_targets,
           coalesce(spec ->> '$.data.ties', 'file') AS ties,
           coalesce(repeated_targets, (
               SELECT max(value) FILTER (name = 'num_repeated') / max(value) FILTER (
                   name = 'num_users')
               FROM metrics WHERE metrics.run_id = runs.run_id AND split = 'test'
           )) AS repeated_targets
    FROM runs
    WHERE list_contains($1, fingerprint)
    QUALIFY row_number() OVER (PARTITION BY fingerprint ORDER BY attempt DESC, started_at DESC) = 1
"""
_OLD_SQL = """
    SELECT results_version, count(DISTINCT fingerprint) AS runs
    FROM runs SEMI JOIN (FROM studies WHERE name = $1) AS named USING (study_id)
    WHERE outcome = 'done' AND results_version IS DISTINCT FROM $2
    GROUP BY results_version ORDER BY results_version NULLS FIRST
"""


def latest(ledger: Ledger, fingerprints: Sequence[str]) -> list[dict[str, Any]]:
    """Outcome, quality, peak and time of those that are there, in no order. Raises LedgerError."""
    rows: list[dict[str, Any]] = ledger.query(_SQL, [list(fingerprints)]).to_pylist()
    return rows


def old_runs(ledger: Ledger, study: str, version: int) -> dict[int | None, int]:
    """Finished runs of the studies of this name, counted by results version other than `version`.

    None stands for runs from before there were results versions. Raises LedgerError.
    """
    rows = ledger.query(_OLD_SQL, [study, version]).to_pylist()
    return {row["results_version"]: row["runs"] for row in rows}
