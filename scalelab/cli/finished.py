"""Extract from the record of a run what tables show of it."""

import json
from dataclasses import dataclass

from scalelab.core.figures import peak_of, quality_of
from scalelab.core.identity import COMPARABLE, configuration_of
from scalelab.core.memory_kinds import peak_kind
from scalelab.core.records import Outcome, Record, Run

__all__ = ["Finished", "comparable", "configuration_of_record", "finished_of", "without_seed"]


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
        valid=quality_of(record.metrics, run.best_epoch, "valid"),
        test=quality_of(record.metrics, run.best_epoch, "test"),
        peak_bytes=peak_of(record.memory, "train", peak_kind(_device(run))),
        train_s=run.train_s,
        error=run.error or "",
    )


def _device(run: Run) -> str:
    return str(json.loads(run.spec).get("device", {}).get("name", "cpu"))


def without_seed(label: str) -> str:
    """A label for all seeds of a configuration."""
    return " ".join(word for word in label.split() if not word.startswith("seed="))


def comparable(record: Record) -> tuple[str, ...]:
    """What two runs must share for their qualities and peaks to compare."""
    run = record.run
    known = {
        "data_fingerprint": run.data_fingerprint or run.dataset,
        "protocol": run.protocol,
        "device": None if record.environment is None else record.environment.device,
        "results_version": run.results_version,
    }
    return tuple(str(known[name]) for name in COMPARABLE)


def configuration_of_record(record: Record) -> str:
    """What is equal for the seeds of one configuration."""
    run = record.run
    return configuration_of(json.loads(run.spec), run.data_fingerprint, run.results_version)
