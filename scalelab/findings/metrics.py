"""Find the metric by which the configurations of a ledger were chosen and are compared."""

from scalelab.core.figures import QUALITY_KEY, metric_name
from scalelab.store.ledger import Ledger

__all__ = ["metrics_in_words", "metrics_of", "usual_metric"]

_METRICS = """
SELECT quality_metric FROM results GROUP BY quality_metric ORDER BY count(*) DESC, quality_metric
"""


def metrics_of(ledger: Ledger) -> list[str]:
    """`evaluate.metric` of the finished runs, that of most runs first."""
    return ledger.query(_METRICS)["quality_metric"].to_pylist()


def usual_metric(ledger: Ledger) -> str:
    """The metric of all finished runs; where they have several, NDCG@10, which every run has."""
    found = metrics_of(ledger)
    return found[0] if len(found) == 1 else QUALITY_KEY


def metrics_in_words(metrics: list[str]) -> str:
    """Such as NDCG@10 and HR@20."""
    names = [metric_name(metric) for metric in metrics]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
