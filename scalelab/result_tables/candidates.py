"""Read the finished configurations of a ledger with their test figures over seeds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.errors import SpecError, nearest
from scalelab.core.identity import COMPARABLE
from scalelab.findings.differences import KEY, Key, Settings, key_of, labels, settings_of
from scalelab.findings.order import order_of
from scalelab.findings.verdicts import verdicts_of
from scalelab.store.ledger import Ledger

__all__ = ["COSTS", "Candidate", "Class", "Figure", "candidates", "check_metrics", "study_ids"]

# What decides whether two configurations may be ranked against each other.
Class = tuple[Any, ...]
COSTS = ("peak_bytes", "train_s")
# The short name of a row or column key, and the dotted key of the setting that it means.
SETTING = {
    "model": "model.name",
    "loss": "loss.name",
    "batch_size": "batch.size",
    "max_len": "batch.max_len",
    "hidden_dim": "model.hidden_dim",
    "num_negatives": "negatives.0.num_negatives",
    "num_items": "data.num_items",
}
_CONFIGURATIONS = f"""
SELECT {", ".join(KEY)}, dataset, model, loss, num_users, num_items, num_interactions, batch_size,
    max_len, hidden_dim, num_negatives, rounds, n_buckets, n_chunks, n_extra_chunks, peak_kind,
    spec::VARCHAR AS spec, study_ids, num_seeds, num_lost, valid_quality, peak_bytes,
    peak_bytes_std, train_s, train_s_std
FROM configurations
ORDER BY dataset, num_items, protocol, device, results_version NULLS FIRST, quality_metric,
    configuration
"""
# The last attempt of each run, as in the view `configurations`.
_LATEST = """
latest AS (
    SELECT max_by(run_id, (attempt, started_at, run_id)) AS run_id
    FROM results GROUP BY fingerprint, device
)
"""
_METRICS = f"""
WITH {_LATEST}
SELECT {", ".join(f"results.{name}" for name in KEY)},
    name || coalesce('@' || k, '') AS metric,
    avg(value) AS mean, stddev_samp(value) AS std, count(*) AS seeds
FROM results SEMI JOIN latest USING (run_id) JOIN metrics ON metrics.run_id = results.run_id
WHERE split = 'test' AND list_contains($wanted, name || coalesce('@' || k, ''))
GROUP BY ALL
"""
_KNOWN = """
SELECT DISTINCT name || coalesce('@' || k, '') AS metric
FROM metrics WHERE split = 'test' AND NOT starts_with(name, 'oracle') ORDER BY metric
"""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The mean of a figure over seeds and its sample standard deviation (None: one seed)."""

    mean: float
    std: float | None
    seeds: int


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration with its figures. `label` names the settings in which it differs from others,
    `usual` those that hold where a label does not name them. `note` says whether it ended at a
    baseline, below one, or while its quality still rose.
    """

    key: Key
    place: Class
    columns: dict[str, Any]
    settings: Settings
    label: str
    usual: str
    note: str
    figures: dict[str, Figure]

    @property
    def rank(self) -> tuple[Any, ...]:
        """The smallest is the best on validation; one that lost seeds comes after all others."""
        return order_of(self.columns | {"configuration": self.key[0]})

    def value(self, name: str) -> Any:
        """A column of the view `configurations`, or a setting by its dotted key; None: no such."""
        if name in self.columns:
            return self.columns[name]
        if name.startswith("negatives.") and name.count(".") == 1:
            name = name.replace("negatives.", "negatives.0.")
        return self.settings.get(name)


def check_metrics(ledger: Ledger, metrics: Iterable[str]) -> list[str]:
    """The metrics as the ledger names them. Raises SpecError for one that it does not have."""
    known = [row["metric"] for row in ledger.query(_KNOWN).to_pylist()]
    checked: list[str] = []
    for metric in metrics:
        name = metric.strip().lower()
        if name not in known:
            # Older runs had one target per user, where recall is the hit rate.
            name = name.replace("recall@", "hr@")
        if name not in known:
            hint = nearest(name, known) if known else "no run of it has finished"
            raise SpecError(f"the ledger has no test metric {metric!r}", hint)
        checked.append(name)
    return list(dict.fromkeys(checked))


def study_ids(ledger: Ledger, study: str) -> list[str]:
    """The ids of the studies of that name or id. Raises SpecError."""
    rows = ledger.query("SELECT study_id, name FROM studies ORDER BY created_at").to_pylist()
    found = [row["study_id"] for row in rows if study in (row["study_id"], row["name"])]
    if not found:
        names = {row["name"] for row in rows}
        hint = nearest(study, names) if names else "it has no study"
        raise SpecError(f"the ledger has no study {study!r}", hint)
    return found


def candidates(
    ledger: Ledger, metrics: Sequence[str], *, study: str | None, hidden: Iterable[str]
) -> list[Candidate]:
    """The finished configurations (of one study), their labels without the settings in `hidden`."""
    rows = ledger.query(_CONFIGURATIONS).to_pylist()
    if study is not None:
        wanted = set(study_ids(ledger, study))
        rows = [row for row in rows if wanted & set(row["study_ids"] or ())]
    settings = [settings_of(row["spec"]) for row in rows]
    names, usual = labels(settings, without=[SETTING.get(name, name) for name in hidden])
    verdicts = verdicts_of(ledger)
    figures: dict[Key, dict[str, Figure]] = {}
    for row in ledger.query(_METRICS, {"wanted": list(metrics)}).to_pylist():
        found = Figure(mean=row["mean"], std=row["std"], seeds=row["seeds"])
        figures.setdefault(key_of(row), {})[row["metric"]] = found
    return [
        Candidate(
            key=key_of(row),
            place=tuple(row[name] for name in COMPARABLE),
            columns={name: value for name, value in row.items() if name != "spec"},
            settings=own,
            label=label,
            usual=usual,
            note=verdicts[key_of(row)].words,
            figures=figures.get(key_of(row), {}) | _costs(row),
        )
        for row, own, label in zip(rows, settings, names, strict=True)
    ]


def _costs(row: dict[str, Any]) -> dict[str, Figure]:
    return {
        name: Figure(mean=row[name], std=row[f"{name}_std"], seeds=row["num_seeds"])
        for name in COSTS
        if row[name] is not None
    }
