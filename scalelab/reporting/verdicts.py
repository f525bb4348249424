"""Say of each configuration whether it ended at a baseline, below one, or while still rising."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.verdicts import at_baseline, still_rising
from scalelab.reporting.differences import KEY, Key, key_of
from scalelab.store.ledger import Ledger

__all__ = ["Baseline", "Verdict", "baselines_of", "verdicts_of"]

# As in the view `configurations`: the last attempt of each run.
_RUNS = f"""
WITH latest AS (
    SELECT max_by(run_id, (attempt, started_at, run_id)) AS run_id
    FROM results GROUP BY fingerprint, device
)
SELECT {", ".join(f"results.{name}" for name in KEY)}, any_value(stopped) AS stopped,
    any_value(test_ndcg_10) AS test_ndcg_10,
    list(metrics.value ORDER BY metrics.epoch) FILTER (metrics.value IS NOT NULL) AS valid
FROM results SEMI JOIN latest USING (run_id)
LEFT JOIN metrics ON metrics.run_id = results.run_id
    AND metrics.split = 'valid' AND metrics.name = 'ndcg' AND metrics.k = 10
GROUP BY results.run_id, {", ".join(f"results.{name}" for name in KEY)}
"""
_BASELINES = """
SELECT data_fingerprint, protocol, name,
    max(value) FILTER (split = 'valid') AS valid, max(value) FILTER (split = 'test') AS test
FROM baselines WHERE metric = 'ndcg' AND k = 10
GROUP BY ALL ORDER BY data_fingerprint, protocol, test DESC NULLS LAST, name
"""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """NDCG@10 of a ranking that needs no training."""

    name: str
    valid: float | None
    test: float | None

    @property
    def words(self) -> str:
        """Its name as people write it."""
        return self.name.replace("_", " ")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What must be known before a configuration is compared; counts are of its `seeds` runs."""

    seeds: int
    at_baseline: int
    still_rising: int
    below: Baseline | None

    @property
    def words(self) -> str:
        """All that applies, such as "still rising when it ended (1 of 3 seeds)"."""
        found = []
        if self.at_baseline:
            found.append(f"ended at the popularity baseline{self._share(self.at_baseline)}")
        if self.still_rising:
            found.append(f"still rising when it ended{self._share(self.still_rising)}")
        if self.below is not None:
            found.append(f"below the baseline {self.below.words} ({self.below.test:.4f})")
        return "; ".join(found)

    def _share(self, count: int) -> str:
        return "" if count == self.seeds else f" ({count} of {self.seeds} seeds)"


def baselines_of(ledger: Ledger) -> dict[tuple[str, str], list[Baseline]]:
    """The baselines of each data fingerprint and protocol, the best on test first."""
    found: dict[tuple[str, str], list[Baseline]] = {}
    for row in ledger.query(_BASELINES).to_pylist():
        baseline = Baseline(name=row["name"], valid=row["valid"], test=row["test"])
        found.setdefault((row["data_fingerprint"], row["protocol"]), []).append(baseline)
    return found


def verdicts_of(ledger: Ledger) -> dict[Key, Verdict]:
    """The verdict on every configuration of the view `configurations`."""
    baselines = baselines_of(ledger)
    runs: dict[Key, list[dict[str, Any]]] = {}
    for row in ledger.query(_RUNS).to_pylist():
        runs.setdefault(key_of(row), []).append(row)
    return {
        key: _verdict(rows, baselines.get((rows[0]["data_fingerprint"], rows[0]["protocol"]), []))
        for key, rows in runs.items()
    }


def _verdict(rows: Sequence[dict[str, Any]], baselines: Sequence[Baseline]) -> Verdict:
    popularity = next((b.valid for b in baselines if b.name == "popularity"), None)
    tests = [row["test_ndcg_10"] for row in rows if row["test_ndcg_10"] is not None]
    mean = sum(tests) / len(tests) if tests else None
    better = [b for b in baselines if mean is not None and b.test is not None and b.test > mean]
    return Verdict(
        seeds=len(rows),
        at_baseline=sum(at_baseline(row["valid"] or [], popularity) for row in rows),
        still_rising=sum(still_rising(row["valid"] or [], row["stopped"]) for row in rows),
        below=better[0] if better else None,
    )
