"""Extract from the record of a run what tables show of it."""

import json
from dataclasses import dataclass
from typing import Any

from scalelab.core.records import Outcome, Record

__all__ = ["Finished", "comparable", "finished_of", "settings_of", "without_seed"]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A finished run. `valid` and `test` are NDCG@10 over the whole catalog, or None."""

    label: str
    outcome: Outcome
    valid: float | None
    test: float | None
    peak_bytes: int | None
    train_s: float | None
    error: str


def finished_of(label: str, record: Record) -> Finished:
    """The figures of a record that tables show."""
    run = record.run
    return Finished(
        label=label,
        outcome=run.outcome,
        valid=_ndcg(record, "valid"),
        test=_ndcg(record, "test"),
        peak_bytes=_peak(record, json.loads(run.spec)),
        train_s=run.train_s,
        error=run.error or "",
    )


def without_seed(label: str) -> str:
    """A label for all seeds of a configuration."""
    return " ".join(word for word in label.split() if not word.startswith("seed="))


def _ndcg(record: Record, split: str) -> float | None:
    """NDCG@10 at the epoch whose weights were kept, else the best that was seen."""
    values = {
        metric.epoch: metric.value
        for metric in record.metrics
        if metric.split == split and metric.name == "ndcg" and metric.k == 10
    }
    best = record.run.best_epoch
    return values[best] if best in values else max(values.values(), default=None)


def _peak(record: Record, spec: dict[str, Any]) -> int | None:
    """The training peak: `allocated` on a GPU, `requested` on a CPU, never one for the other."""
    on_gpu = str(spec.get("device", {}).get("name", "cpu")).startswith("cuda")
    wanted = ("train", "allocated" if on_gpu else "requested", "total", "measured")
    for memory in record.memory:
        if (memory.stage, memory.kind, memory.component, memory.source) == wanted:
            return memory.bytes
    return None


def comparable(record: Record) -> tuple[str, ...]:
    """What two runs must share for their qualities and peaks to compare."""
    device = record.environment.device if record.environment is not None else ""
    return (record.run.data_fingerprint or record.run.dataset, record.run.protocol, device)


def settings_of(record: Record) -> str:
    """What is equal for the seeds of one configuration."""
    tables = json.loads(record.run.spec)
    tables.get("train", {}).pop("seed", None)
    return json.dumps(tables, sort_keys=True)
