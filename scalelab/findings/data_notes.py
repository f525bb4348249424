"""Say once for each data set of a ledger what limits every score on its test targets."""

from collections.abc import Collection

from scalelab.core.notes import notes_on_targets
from scalelab.store.ledger import Ledger

__all__ = ["data_notes"]

# Older runs have no share of repeated targets, only the two numbers among their metrics.
_SQL = """
SELECT any_value(dataset) AS dataset, data_fingerprint, protocol,
    coalesce(spec ->> '$.data.ties', 'file') AS ties, max(tied_targets) AS tied,
    max(coalesce(repeated_targets, (
        SELECT max(value) FILTER (name = 'num_repeated') / max(value) FILTER (name = 'num_users')
        FROM metrics WHERE metrics.run_id = results.run_id AND split = 'test'
    ))) AS repeated
FROM results GROUP BY ALL ORDER BY dataset, data_fingerprint, protocol, ties
"""


def data_notes(ledger: Ledger, only: Collection[tuple[str, str]] | None = None) -> list[str]:
    """Ties of time, and targets that users had before, of all data sets and protocols or of those
    of `only` (fingerprint, protocol), with the names that distinguish them.
    """
    rows = ledger.query(_SQL).to_pylist()
    if only is not None:
        rows = [row for row in rows if (row["data_fingerprint"], row["protocol"]) in only]
    several = len({row["data_fingerprint"] for row in rows}) > 1
    protocols: dict[str, set[str]] = {}
    for row in rows:
        protocols.setdefault(row["data_fingerprint"], set()).add(row["protocol"])
    found: dict[str, None] = {}
    for row in rows:
        notes = notes_on_targets(
            row["tied"],
            row["repeated"],
            ties=row["ties"],
            exclude_seen="seen excluded" in row["protocol"],
        )
        names = [row["dataset"]] * several
        names += [row["protocol"]] * (len(protocols[row["data_fingerprint"]]) > 1)
        found |= dict.fromkeys(": ".join([*names, text]) for text in notes)
    return list(found)
