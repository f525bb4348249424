"""Find the figures of any metric of the ledger for each configuration, and its Pareto fronts."""

from collections.abc import Sequence
from dataclasses import dataclass

from scalelab.core.dominance import pareto_front
from scalelab.core.figures import QUALITY, QUALITY_K, QUALITY_KEY
from scalelab.core.identity import COMPARABLE, COMPARABLE_IN_TIME
from scalelab.findings.differences import KEY, Key, key_of
from scalelab.result_tables.candidates import check_metrics
from scalelab.store.ledger import Ledger

__all__ = ["QualityOf", "configurations_by", "fronts_by", "metric_of", "note_on"]

_TITLES = {"ndcg": "NDCG", "hr": "HR", "mrr": "MRR"}
# One row a configuration: means over the last attempt of each seed, at the epoch that was kept.
_FIGURES = f"""
WITH latest AS (
    SELECT max_by(run_id, (attempt, started_at, run_id)) AS run_id
    FROM results GROUP BY fingerprint, device
),
kept AS (
    SELECT {", ".join(f"results.{name}" for name in KEY)}, metrics.split, metrics.name,
        metrics.value
    FROM results SEMI JOIN latest USING (run_id) JOIN metrics ON metrics.run_id = results.run_id
    WHERE metrics.k IS NOT DISTINCT FROM {{k}} AND metrics.name IN ({{name}}, 'oracle_' || {{name}})
    QUALIFY row_number() OVER (
        PARTITION BY metrics.run_id, metrics.split, metrics.name
        ORDER BY (metrics.epoch = results.best_epoch) IS TRUE DESC, metrics.epoch DESC
    ) = 1
)
SELECT {", ".join(KEY)},
    avg(value) FILTER (split = 'valid' AND name = {{name}}) AS valid_quality,
    avg(value) FILTER (split = 'test' AND name = {{name}}) AS test_quality,
    stddev_samp(value) FILTER (split = 'test' AND name = {{name}}) AS test_quality_std,
    max(value) FILTER (split = 'test' AND name <> {{name}}) AS oracle_quality
FROM kept GROUP BY ALL
"""


@dataclass(frozen=True, kw_only=True)
class QualityOf:
    """A metric of the ledger: its name and its cut-off, None where it has none."""

    name: str
    k: int | None

    @property
    def key(self) -> str:
        """As in `hr@10`."""
        return self.name if self.k is None else f"{self.name}@{self.k}"

    @property
    def title(self) -> str:
        """As axes show it, such as HR@10."""
        name = _TITLES.get(self.name, self.name.replace("_", " "))
        return name if self.k is None else f"{name}@{self.k}"

    @property
    def is_usual(self) -> bool:
        """Whether it is NDCG@10, by which epochs and configurations are chosen."""
        return (self.name, self.k) == (QUALITY, QUALITY_K)


def note_on(title: str) -> list[str]:
    """What must be added below a chart of another metric than NDCG@10; `title` is its title."""
    usual = QualityOf(name=QUALITY, k=QUALITY_K).title
    return [] if title == usual else [f"shown is {title}; notes on runs go by {usual}"]


def metric_of(ledger: Ledger, text: str) -> QualityOf:
    """The metric that the text names. Raises SpecError where the ledger does not have it."""
    if text.strip().lower() == QUALITY_KEY:
        return QualityOf(name=QUALITY, k=QUALITY_K)
    name, _, k = check_metrics(ledger, [text])[0].partition("@")
    return QualityOf(name=name, k=int(k) if k else None)


def configurations_by(metric: QualityOf) -> str:
    """A table for FROM: the view `configurations`, with `valid_quality`, `test_quality`,
    `test_quality_std` and `oracle_quality`, which are those of the metric.
    """
    if metric.is_usual:
        return """(
    SELECT *, valid_ndcg_10 AS valid_quality, test_ndcg_10 AS test_quality,
        test_ndcg_10_std AS test_quality_std, oracle_ndcg_10 AS oracle_quality
    FROM configurations
)"""
    k = "NULL" if metric.k is None else str(metric.k)
    figures = _FIGURES.format(name="'" + metric.name.replace("'", "''") + "'", k=k)
    same = " AND ".join(
        f"figures.{name} IS NOT DISTINCT FROM configurations.{name}" for name in KEY
    )
    return f"""(
    SELECT configurations.*, valid_quality, test_quality, test_quality_std, oracle_quality
    FROM configurations LEFT JOIN ({figures}) AS figures ON {same}
)"""


def fronts_by(ledger: Ledger, metric: QualityOf) -> tuple[set[Key], set[Key]]:
    """The configurations on the Pareto fronts of memory and of time, chosen on validation."""
    if metric.is_usual:
        views = ("pareto_memory", "pareto_time")
        return tuple(  # type: ignore[return-value]
            {key_of(row) for row in ledger.query(f"SELECT {', '.join(KEY)} FROM {v}").to_pylist()}
            for v in views
        )
    rows = ledger.query(
        f"SELECT {', '.join(KEY)}, valid_quality, peak_bytes, train_s "
        f"FROM {configurations_by(metric)} WHERE valid_quality IS NOT NULL"
    ).to_pylist()
    return (
        _front(rows, "peak_bytes", COMPARABLE),
        _front(rows, "train_s", COMPARABLE_IN_TIME),
    )


def _front(rows: Sequence[dict[str, object]], cost: str, same: Sequence[str]) -> set[Key]:
    groups: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in same), []).append(row)
    return {
        key_of(group[place])
        for group in groups.values()
        for place in pareto_front([_point(row, cost) for row in group])
    }


def _point(row: dict[str, object], cost: str) -> tuple[float, float] | None:
    quality, spent = row["valid_quality"], row[cost]
    if not isinstance(quality, int | float) or not isinstance(spent, int | float):
        return None
    return float(quality), float(spent)
