"""Read from a ledger the validation quality that chooses between configurations."""

from collections.abc import Collection

from scalelab.store.ledger import Ledger

__all__ = ["validation_quality"]

_VALUES = """
    SELECT fingerprint, avg(valid_quality) AS quality FROM results
    WHERE list_contains($1, fingerprint) AND valid_quality IS NOT NULL GROUP BY fingerprint
"""


def validation_quality(ledger: Ledger, fingerprints: Collection[str]) -> dict[str, float]:
    """By fingerprint, the `evaluate.metric` of finished runs on validation, at their best epoch."""
    rows = ledger.query(_VALUES, [list(fingerprints)]).to_pylist()
    return {row["fingerprint"]: row["quality"] for row in rows}
