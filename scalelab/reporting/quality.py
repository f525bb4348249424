"""Find the figures of any metric of the ledger for each configuration, and its Pareto fronts."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from scalelab.core.dominance import MAY_WIN, pareto_front
from scalelab.core.figures import METRICS, metric_name
from scalelab.core.identity import COMPARABLE, COMPARABLE_IN_TIME
from scalelab.findings.differences import KEY, Key, key_of
from scalelab.findings.metrics import metrics_in_words, metrics_of, usual_metric
from scalelab.result_tables.candidates import check_metrics
from scalelab.store.ledger import Ledger

__all__ = ["QualityOf", "configurations_by", "fronts_by", "metric_of", "note_on"]

_QUALITIES = ("valid_quality", "test_quality", "test_quality_std", "oracle_quality")
_OWN = {
    "valid_quality": "own_valid",
    "test_quality": "own_test",
    "test_quality_std": "own_test_std",
}
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
    """A metric of the ledger: its name and its cut-off, None where it has none.

    `is_usual`: all finished runs have chosen their epochs by it, and all configurations compare.
    """

    name: str
    k: int | None
    is_usual: bool = False

    @property
    def key(self) -> str:
        """As in `hr@10`."""
        return self.name if self.k is None else f"{self.name}@{self.k}"

    @property
    def title(self) -> str:
        """As axes show it, such as HR@10."""
        return metric_name(self.key) if self.name in METRICS else self.key.replace("_", " ")


def note_on(rows: pa.Table, *, metric: str | None, study: str | None) -> list[str]:
    """What must be added below a chart where its metric did not choose all runs, and why it is that
    one. `metric` and `study` are the chart's options.
    """
    shown = rows["metric"][0].as_py()
    metrics = sorted(set(rows["quality_metric"].to_pylist()))
    if [metric_name(metric) for metric in metrics] == [shown]:
        return []
    reason = ", by which the study chose" if study else ", by which the last study or run chose"
    return [
        f"shown is {shown}{'' if metric else reason}; notes on runs go by "
        f"{metrics_in_words(metrics)}"
    ]


def metric_of(ledger: Ledger, text: str | None, study: str | None = None) -> QualityOf:
    """The metric that the text names; None: that by which the study chose, or the last one where
    none is given. Raises SpecError where the ledger does not have it.
    """
    own = metrics_of(ledger)
    key = usual_metric(ledger, study) if text is None else text.strip().lower()
    is_usual = own in ([], [key])
    if text is not None and not is_usual:
        key = check_metrics(ledger, [text])[0]
    name, _, k = key.partition("@")
    return QualityOf(name=name, k=int(k) if k else None, is_usual=is_usual)


def configurations_by(metric: QualityOf) -> str:
    """A table for FROM: the view `configurations`, in which `valid_quality`, `test_quality`,
    `test_quality_std` and `oracle_quality` are those of the metric; `own_valid`, `own_test` and
    `own_test_std` are those of the metric of the runs.
    """
    own = ", ".join(f"configurations.{name} AS {alias}" for name, alias in _OWN.items())
    if metric.is_usual:
        return f"(SELECT *, {own} FROM configurations)"
    k = "NULL" if metric.k is None else str(metric.k)
    figures = _FIGURES.format(name="'" + metric.name.replace("'", "''") + "'", k=k)
    same = " AND ".join(
        f"figures.{name} IS NOT DISTINCT FROM configurations.{name}" for name in KEY
    )
    return f"""(
    SELECT configurations.* EXCLUDE ({", ".join(_QUALITIES)}), {own},
        {", ".join(f"figures.{name}" for name in _QUALITIES)}
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
        f"FROM {configurations_by(metric)} WHERE {MAY_WIN}"
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
