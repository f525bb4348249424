"""Find the metric by which the configurations of a ledger were chosen and are compared."""

from scalelab.core.figures import QUALITY_KEY, metric_name
from scalelab.store.ledger import Ledger

__all__ = ["metrics_in_words", "metrics_of", "usual_metric"]

_METRICS = """
SELECT quality_metric FROM results GROUP BY quality_metric ORDER BY count(*) DESC, quality_metric
"""

# That of most runs first, where a study has several.
_OF_STUDIES = """
WITH owned AS (
    SELECT study_id, quality_metric, started_at FROM results
    UNION ALL
    SELECT reused_runs.study_id, quality_metric, started_at
    FROM reused_runs JOIN results USING (fingerprint)
)
SELECT quality_metric FROM owned LEFT JOIN studies USING (study_id)
WHERE $study IS NULL OR study_id = $study
GROUP BY study_id, created_at, quality_metric
ORDER BY coalesce(created_at, max(started_at)) DESC, count(*) DESC, quality_metric
LIMIT 1
"""


def metrics_of(ledger: Ledger) -> list[str]:
    """`evaluate.metric` of the finished runs, that of most runs first."""
    return ledger.query(_METRICS)["quality_metric"].to_pylist()


def usual_metric(ledger: Ledger, study: str | None = None) -> str:
    """The metric by which the finished runs of a study were chosen, those included that it took
    from another one; None: of the study that was swept last. NDCG@10 where there is none.
    """
    found = ledger.query(_OF_STUDIES, {"study": study})["quality_metric"].to_pylist()
    return found[0] if found else QUALITY_KEY


def metrics_in_words(metrics: list[str]) -> str:
    """Such as NDCG@10 and HR@20."""
    names = [metric_name(metric) for metric in metrics]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
