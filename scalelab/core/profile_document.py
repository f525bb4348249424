"""Build the document that `scalelab profile` returns from the record of a run."""

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from scalelab.core.figures import metric_of, quality_curve
from scalelab.core.memory_kinds import Sizes, reconciled
from scalelab.core.notes import notes_on_targets
from scalelab.core.records import Record
from scalelab.core.run_notes import notes_on_run
from scalelab.core.verdicts import at_baseline, still_rising

__all__ = ["profile_document", "write_timeline"]


def profile_document(record: Record, files: Mapping[str, Path]) -> dict[str, Any]:
    """Outcome, spec, quality, memory by stage, kind and component, time, and the files written.

    Metrics are those of the epoch whose weights were kept; bytes that could not be read are None,
    with the reason under `reasons`. `kinds` sets the kinds of memory beside one another, `kernels`
    says for a loss that has both whether it ran by fused kernels or by tiles. `baselines` need no
    training; `at_baseline` and `still_rising` are explained in `scalelab.core.verdicts`. `notes`
    are sentences to read beside the numbers, such as how many test targets ties decide.
    """
    run = record.run
    memory, reasons = _memory(record, "measured"), _reasons(record)
    metric = metric_of(json.loads(run.spec))
    curve = quality_curve(record.metrics, key=metric)
    valid = [curve[epoch] for epoch in sorted(curve)]
    popularity = _baselines(record).get("popularity", {}).get("valid", {}).get(metric)
    steps = [s.value for s in record.samples if s.name == "step_s" and s.value is not None]
    return {
        "outcome": run.outcome.value,
        "phase": run.phase,
        "error": run.error,
        "spec": json.loads(run.spec),
        "metrics": _metrics(record),
        "baselines": _baselines(record),
        "stopped": run.stopped,
        "at_baseline": at_baseline(valid, popularity),
        "still_rising": still_rising(valid, run.stopped),
        "tied_targets": run.tied_targets,
        "repeated_targets": run.repeated_targets,
        "account_error": run.account_error,
        "notes": _notes(record),
        "memory": memory,
        "predicted": _memory(record, "predicted"),
        "reasons": reasons,
        "kinds": reconciled(memory, reasons),
        "time": {
            "wall_s": run.wall_s,
            "train_s": run.train_s,
            "eval_s": run.eval_s,
            "step_s_median": median(steps) if steps else None,
            "tokens_per_s": run.tokens_per_s,
            "wait_fraction": run.wait_fraction,
        },
        "kernels": {
            sample.name.removesuffix("_fused"): "fused" if sample.value else "tiled"
            for sample in record.samples
            if sample.probe == "kernel_used"
        },
        "epochs": run.epochs,
        "best_epoch": run.best_epoch,
        "files": {name: str(path) for name, path in files.items()},
    }


def _notes(record: Record) -> list[str]:
    run = record.run
    data = json.loads(run.spec)["data"]
    on_targets = notes_on_targets(
        run.tied_targets,
        run.repeated_targets,
        ties=data.get("ties", "file"),
        exclude_seen=data.get("exclude_seen", True),
    )
    return [*on_targets, *notes_on_run(record)]


def write_timeline(record: Record, file: Path) -> None:
    """Every change of memory inside the profiled step, a line each, as CSV."""
    lines = ["event,phase,component,bytes"]
    lines += [f"{e.event},{e.phase},{e.component},{e.bytes}" for e in record.timeline]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _metrics(record: Record) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for metric in record.metrics:
        if metric.split != "train" and metric.epoch == (record.run.best_epoch or metric.epoch):
            name = metric.name if metric.k is None else f"{metric.name}@{metric.k}"
            found.setdefault(metric.split, {})[name] = metric.value
    return found


def _baselines(record: Record) -> dict[str, dict[str, dict[str, float]]]:
    found: dict[str, dict[str, dict[str, float]]] = {}
    for row in record.baselines:
        name = row.metric if row.k is None else f"{row.metric}@{row.k}"
        found.setdefault(row.name, {}).setdefault(row.split, {})[name] = row.value
    return found


def _memory(record: Record, source: str) -> Sizes:
    found: dict[str, dict[str, dict[str, int | None]]] = {}
    for memory in record.memory:
        if memory.source == source:
            kinds = found.setdefault(memory.stage, {})
            kinds.setdefault(memory.kind, {})[memory.component] = memory.bytes
    return found


def _reasons(record: Record) -> dict[str, str]:
    return {f"{m.stage}.{m.kind}": m.reason for m in record.memory if m.reason is not None}
