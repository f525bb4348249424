"""Count how the runs of a ledger ended, by data, protocol and metric."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from scalelab.core.records import Outcome
from scalelab.store.ledger import Ledger

__all__ = ["endings_of", "endings_on"]

# By the last attempt of each run; a run that ended early does not know its data or its device.
_ENDINGS = """
SELECT dataset, protocol, data_fingerprint, quality_metric, outcome, count(*) AS number FROM (
    SELECT dataset, protocol, data_fingerprint, quality_metric, outcome FROM runs
    WHERE $studies IS NULL OR list_contains($studies, study_id) OR fingerprint IN (
        SELECT fingerprint FROM reused_runs WHERE list_contains($studies, reused_runs.study_id)
    )
    QUALIFY row_number() OVER (
        PARTITION BY fingerprint
        ORDER BY outcome = 'done' DESC, attempt DESC, started_at DESC, run_id
    ) = 1
) GROUP BY ALL ORDER BY dataset, protocol, data_fingerprint, quality_metric, outcome
"""


def endings_of(ledger: Ledger, studies: Sequence[str] | None) -> list[dict[str, Any]]:
    """The number of runs of each data set, protocol, metric and outcome.

    `studies` are ids; None takes the runs of all. Raises LedgerError.
    """
    chosen = {"studies": None if studies is None else list(studies)}
    return ledger.query(_ENDINGS, chosen).to_pylist()


def endings_on(endings: Sequence[dict[str, Any]], first: dict[str, Any]) -> dict[str, int]:
    """Runs by outcome on the data of `first`; of a run that did not know its data, by the name."""
    found: Counter[str] = Counter()
    for one in endings:
        same = ("protocol", "quality_metric")
        if all(one[name] == first[name] for name in same) and (
            one["data_fingerprint"] == first["data_fingerprint"]
            or (one["data_fingerprint"] is None and one["dataset"] == first["dataset"])
        ):
            found[one["outcome"]] += one["number"]
    return {outcome: number for outcome, number in found.items() if outcome != Outcome.DONE}
