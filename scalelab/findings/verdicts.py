"""Say of each configuration whether it ended at a baseline, below one, or while still rising."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.figures import QUALITY_KEY
from scalelab.core.verdicts import (
    AT_BASELINE,
    STILL_RISING,
    at_baseline,
    below_baseline,
    still_rising,
)
from scalelab.findings.differences import KEY, Key, key_of
from scalelab.findings.metrics import metrics_of
from scalelab.store.ledger import Ledger

__all__ = ["Baseline", "Verdict", "baseline_rows", "baselines_of", "verdicts_of", "with_notes"]

# As in the view `configurations`: the last attempt of each run.
_RUNS = f"""
WITH latest AS (
    SELECT max_by(run_id, (attempt, started_at, run_id)) AS run_id
    FROM results WHERE quality_metric = $metric
        AND ($wanted IS NULL OR list_contains($wanted, configuration))
    GROUP BY fingerprint, device
)
SELECT results.run_id, {", ".join(f"results.{name}" for name in KEY)},
    any_value(stopped) AS stopped,
    any_value(test_quality) AS test_quality,
    list(metrics.value ORDER BY metrics.epoch) FILTER (metrics.value IS NOT NULL) AS valid
FROM results SEMI JOIN latest USING (run_id)
LEFT JOIN metrics ON metrics.run_id = results.run_id
    AND metrics.split = 'valid' AND metrics.name = $name AND metrics.k = $k
GROUP BY results.run_id, {", ".join(f"results.{name}" for name in KEY)}
"""
_BASELINES = """
SELECT data_fingerprint, protocol, coalesce(any_value(dataset), data_fingerprint) AS dataset, name,
    max(value) FILTER (split = 'valid') AS valid, max(value) FILTER (split = 'test') AS test
FROM baselines LEFT JOIN (
    SELECT data_fingerprint, any_value(dataset) AS dataset FROM runs GROUP BY data_fingerprint
) AS named USING (data_fingerprint)
WHERE metric = $name AND k IS NOT DISTINCT FROM $k
GROUP BY data_fingerprint, protocol, name
ORDER BY data_fingerprint, protocol, test DESC NULLS LAST, name
"""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A metric (NDCG@10 unless another was requested) of a ranking that needs no training."""

    dataset: str
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
    below: str

    @property
    def all_at_baseline(self) -> bool:
        """Whether every seed ended level with the popularity list."""
        return self.at_baseline == self.seeds

    @property
    def words(self) -> str:
        """All that applies, such as "still rising when it ended (1 of 3 seeds)"."""
        found = []
        if self.at_baseline:
            found.append(f"{AT_BASELINE}{self._share(self.at_baseline)}")
        if self.still_rising:
            found.append(f"{STILL_RISING}{self._share(self.still_rising)}")
        if self.below:
            found.append(self.below)
        return "; ".join(found)

    def _share(self, count: int) -> str:
        return "" if count == self.seeds else f" ({count} of {self.seeds} seeds)"


def baselines_of(
    ledger: Ledger, metric: str = QUALITY_KEY
) -> dict[tuple[str, str], list[Baseline]]:
    """The baselines of each data fingerprint and protocol by a metric, the best on test first."""
    found: dict[tuple[str, str], list[Baseline]] = {}
    wanted, _, k = metric.partition("@")
    parameters = {"name": wanted, "k": int(k) if k else None}
    for row in ledger.query(_BASELINES, parameters).to_pylist():
        figures = {name: row[name] for name in ("dataset", "name", "valid", "test")}
        baseline = Baseline(**figures)
        found.setdefault((row["data_fingerprint"], row["protocol"]), []).append(baseline)
    return found


def verdicts_of(
    ledger: Ledger, configurations: Collection[str] | None = None
) -> dict[Key, Verdict]:
    """The verdict on each of these rows of the view `configurations`; None: on every one."""
    wanted = None if configurations is None else sorted(configurations)
    baselines = _Baselines(ledger)
    runs: dict[Key, list[dict[str, Any]]] = {}
    for row in _runs(ledger, wanted):
        runs.setdefault(key_of(row), []).append(row)
    return {key: _verdict(rows, baselines.beside(rows[0])) for key, rows in runs.items()}


def baseline_rows(ledger: Ledger) -> list[dict[str, Any]]:
    """The baselines with the data fingerprint and protocol to which they belong, by each metric
    that chose between the runs of the ledger.
    """
    usual = {
        (*place, one.name): {"valid_ndcg_10": one.valid, "test_ndcg_10": one.test}
        for place, found in baselines_of(ledger).items()
        for one in found
    }
    return [
        {"data_fingerprint": data, "protocol": protocol, "dataset": one.dataset, "name": one.name}
        | {"quality_metric": metric, "valid_quality": one.valid, "test_quality": one.test}
        | usual.get((data, protocol, one.name), {"valid_ndcg_10": None, "test_ndcg_10": None})
        for metric in metrics_of(ledger) or [QUALITY_KEY]
        for (data, protocol), found in baselines_of(ledger, metric).items()
        for one in found
    ]


def with_notes(ledger: Ledger, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """`rows` with the note on the run of each; "" where there is none."""
    baselines = _Baselines(ledger)
    notes: dict[str, str] = {}
    # Of all runs: that is quicker than a search for each.
    for row in _runs(ledger, None):
        notes[row["run_id"]] = _verdict([row], baselines.beside(row)).words
    return [row | {"note": notes.get(row["run_id"], "")} for row in rows]


def _runs(ledger: Ledger, wanted: Sequence[str] | None) -> Iterator[dict[str, Any]]:
    """The runs metric by metric: all in one query would join the curves of all metrics."""
    for metric in metrics_of(ledger):
        name, _, k = metric.partition("@")
        parameters = {"wanted": wanted, "metric": metric, "name": name, "k": int(k)}
        yield from ledger.query(_RUNS, parameters).to_pylist()


class _Baselines:
    """The baselines beside which a run is judged: those of its data, by its own metric."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, dict[tuple[str, str], list[Baseline]]] = {}

    def beside(self, row: Mapping[str, Any]) -> list[Baseline]:
        metric = row["quality_metric"]
        if metric not in self._known:
            self._known[metric] = baselines_of(self._ledger, metric)
        return self._known[metric].get((row["data_fingerprint"], row["protocol"]), [])


def _popularity(baselines: Sequence[Baseline]) -> float | None:
    return next((one.valid for one in baselines if one.name == "popularity"), None)


def _verdict(rows: Sequence[dict[str, Any]], baselines: Sequence[Baseline]) -> Verdict:
    popularity = _popularity(baselines)
    tests = [row["test_quality"] for row in rows if row["test_quality"] is not None]
    mean = sum(tests) / len(tests) if tests else None
    return Verdict(
        seeds=len(rows),
        at_baseline=sum(at_baseline(row["valid"] or [], popularity) for row in rows),
        still_rising=sum(still_rising(row["valid"] or [], row["stopped"]) for row in rows),
        below=below_baseline(mean, [(b.name, b.test) for b in baselines]),
    )
