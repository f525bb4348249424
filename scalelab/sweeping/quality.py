"""Read from a ledger the validation quality that chooses between configurations."""

from collections.abc import Collection

from scalelab.core.figures import QUALITY_KEY
from scalelab.store.ledger import Ledger

__all__ = ["validation_quality"]

# What a spec does not say has its default. The casts: DuckDB 1.4 knows JSON only as text here.
_VALUES = f"""
    SELECT fingerprint, avg(quality) AS quality FROM (
        SELECT
            fingerprint,
            coalesce(max(value) FILTER (epoch = best_epoch), max(value)) AS quality
        FROM results JOIN metrics USING (run_id)
        WHERE list_contains($1, fingerprint) AND metrics.split = 'valid' AND isfinite(value)
            AND metrics.name || '@' || metrics.k = coalesce(
                json_extract_string(results.spec::VARCHAR, '$.evaluate.metric'), '{QUALITY_KEY}'
            )
        GROUP BY fingerprint, run_id
    ) GROUP BY fingerprint
"""


def validation_quality(ledger: Ledger, fingerprints: Collection[str]) -> dict[str, float]:
    """By fingerprint, the `evaluate.metric` of finished runs on validation, at their best epoch."""
    rows = ledger.query(_VALUES, [list(fingerprints)]).to_pylist()
    return {row["fingerprint"]: row["quality"] for row in rows}
