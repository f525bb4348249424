"""Extract from the record of a run what tables show of it."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.figures import metric_name, metric_of, peak_of, quality_curve, quality_of
from scalelab.core.identity import COMPARABLE, configuration_of
from scalelab.core.memory_kinds import peak_kind
from scalelab.core.records import Outcome, Record, Run
from scalelab.core.verdicts import AT_BASELINE, BELOW, STILL_RISING, note_on_run

__all__ = [
    "Finished",
    "Reference",
    "comparable",
    "configuration_of_record",
    "finished_of",
    "finished_of_row",
    "metric_of_record",
    "name_of_metrics",
    "notes_in_full",
    "references_of",
    "short_note",
    "without_seed",
]

_IN_FULL = {
    "baseline": "ended no better than the popularity baseline, or ranks below another baseline",
    "rising": "its quality still rose when it ended: longer training would show more",
}


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A finished run. `valid` and `test` are by its metric, over the whole catalog, or None.

    `note` says that it ended at a baseline, below one, or while still rising; "" for neither.
    """

    label: str
    outcome: Outcome
    metric: str
    valid: float | None
    test: float | None
    peak_bytes: int | None
    eval_peak_bytes: int | None
    train_s: float | None
    error: str
    note: str


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The quality of a baseline, a ranking that needs no training, on a data set."""

    metric: str
    dataset: str
    num_items: int | None
    num_users: int | None
    protocol: str
    data_fingerprint: str
    name: str
    valid: float | None
    test: float | None


def finished_of(label: str, record: Record, baselines: Sequence[Reference] = ()) -> Finished:
    """The figures of a record that tables show, beside the `baselines` of its data."""
    run, metric = record.run, metric_of_record(record)
    return Finished(
        label=label,
        outcome=run.outcome,
        metric=metric,
        valid=quality_of(record.metrics, run.best_epoch, "valid", metric),
        test=quality_of(record.metrics, run.best_epoch, "test", metric),
        peak_bytes=peak_of(record.memory, "train", peak_kind(_device(run))),
        eval_peak_bytes=peak_of(record.memory, "eval", peak_kind(_device(run))),
        train_s=run.train_s,
        error=run.error or "",
        note=_note(record, baselines) if run.outcome is Outcome.DONE else "",
    )


def finished_of_row(label: str, row: Mapping[str, Any]) -> Finished:
    """The figures of a run in the ledger that tables show."""
    return Finished(
        label=label,
        outcome=Outcome(row["outcome"]),
        metric=row["quality_metric"],
        valid=row["valid_quality"],
        test=row["test_quality"],
        peak_bytes=row["peak_bytes"],
        eval_peak_bytes=row["eval_peak_bytes"],
        train_s=row["train_s"],
        error=row["error"] or "",
        note=row["note"],
    )


def _device(run: Run) -> str:
    return str(json.loads(run.spec).get("device", {}).get("name", "cpu"))


def _note(record: Record, baselines: Sequence[Reference]) -> str:
    metric = metric_of_record(record)
    curve = quality_curve(record.metrics, key=metric)
    valid = [curve[epoch] for epoch in sorted(curve)]
    test = quality_of(record.metrics, record.run.best_epoch, "test", metric)
    figures = [(one.name, one.valid, one.test) for one in baselines if one.metric == metric]
    return note_on_run(valid, record.run.stopped, test, figures)


def references_of(record: Record) -> tuple[Reference, ...]:
    """The baselines of the data of a run by every metric, the best on test first."""
    figures = {(f"{b.metric}@{b.k}", b.name, b.split): b.value for b in record.baselines}
    run = record.run
    found = [
        Reference(
            metric=metric,
            dataset=run.dataset,
            num_items=run.num_items,
            num_users=run.num_users,
            protocol=run.protocol,
            data_fingerprint=run.data_fingerprint or "",
            name=name.replace("_", " "),
            valid=figures.get((metric, name, "valid")),
            test=figures.get((metric, name, "test")),
        )
        for metric, name in dict.fromkeys((metric, name) for metric, name, _ in figures)
    ]
    return tuple(sorted(found, key=lambda one: -(one.test or 0.0)))


def short_note(note: str) -> str:
    """A note in one word, for narrow columns."""
    if AT_BASELINE in note or BELOW in note:
        return "baseline"
    return "rising" if STILL_RISING in note else ""


def notes_in_full(notes: Iterable[str]) -> list[str]:
    """What each word of `short_note` stands for, a line for each of those in use."""
    short = {short_note(note) for note in notes}
    return [f"{word}: {_IN_FULL[word]}" for word in _IN_FULL if word in short]


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
        "quality_metric": metric_of_record(record),
    }
    return tuple(str(known[name]) for name in COMPARABLE)


def metric_of_record(record: Record) -> str:
    """The metric that chose the epoch of the run."""
    return metric_of(json.loads(record.run.spec))


def name_of_metrics(metrics: Iterable[str]) -> str:
    """The name of the only metric; "quality" where there are several, or none."""
    found = set(metrics)
    return metric_name(found.pop()) if len(found) == 1 else "quality"


def configuration_of_record(record: Record) -> str:
    """What is equal for the seeds of one configuration."""
    run = record.run
    return configuration_of(json.loads(run.spec), run.data_fingerprint, run.results_version)
