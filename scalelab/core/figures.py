"""Decide which quality and which peak stand for a run in tables, charts and the ledger."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from scalelab.core.records import Memory, Metric

__all__ = [
    "METRICS",
    "QUALITY",
    "QUALITY_K",
    "QUALITY_KEY",
    "metric_name",
    "metric_of",
    "peak_of",
    "quality_curve",
    "quality_of",
]

# What a ranking is judged by, each at the length of a list.
METRICS = ("ndcg", "hr", "recall", "mrr")
# Validation chooses the epoch and the configuration by this metric where a run names no other.
QUALITY = "ndcg"
QUALITY_K = 10
QUALITY_KEY = f"{QUALITY}@{QUALITY_K}"


def metric_of(sections: Mapping[str, Any]) -> str:
    """The metric that chooses the epoch of a run and by which configurations are compared:
    `evaluate.metric` of its spec, such as hr@20.
    """
    return str(sections.get("evaluate", {}).get("metric", QUALITY_KEY))


def metric_name(key: str) -> str:
    """As papers write it, such as NDCG@10, Recall@20 or Target popularity."""
    name, mark, k = key.partition("@")
    plain = name in ("recall", "coverage", "popularity") or not k
    return (name.replace("_", " ").capitalize() if plain else name.upper()) + mark + k


def peak_of(
    memory: Iterable[Memory], stage: str, kind: str, source: str = "measured"
) -> int | None:
    """The total of one kind in one stage; None where it could not be read."""
    wanted = (stage, kind, "total", source)
    for fact in memory:
        if (fact.stage, fact.kind, fact.component, fact.source) == wanted:
            return fact.bytes
    return None


def quality_curve(
    metrics: Iterable[Metric], split: str = "valid", key: str = QUALITY_KEY
) -> dict[int, float]:
    """A metric by epoch, without values that are not finite."""
    name, _, k = key.partition("@")
    return {
        metric.epoch: metric.value
        for metric in metrics
        if (metric.split, metric.name, metric.k) == (split, name, int(k))
        and math.isfinite(metric.value)
    }


def quality_of(
    metrics: Iterable[Metric], best_epoch: int | None, split: str, key: str = QUALITY_KEY
) -> float | None:
    """The value of the epoch whose weights were kept.

    Of a run that did not get as far as keeping one, the best validation; on test nothing is ever
    chosen, so the last value counts.
    """
    curve = quality_curve(metrics, split, key)
    if best_epoch in curve:
        return curve[best_epoch]
    if split == "valid":
        return max(curve.values(), default=None)
    return _last(curve)


def _last(curve: Mapping[int, float]) -> float | None:
    return curve[max(curve)] if curve else None
