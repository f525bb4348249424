"""Make the row of a run that has not started, and the rows of its baselines."""

import json
from datetime import UTC, datetime

from scalelab.core.locating import short
from scalelab.core.part_sources import origin_of
from scalelab.core.records import Baseline, Outcome, Run
from scalelab.core.spec import RESULTS_VERSION, RunSpec
from scalelab.datasets.baselines import baseline_rows
from scalelab.train.trainer import Trainer

__all__ = ["baselines_of", "new_row"]


def new_row(spec: RunSpec, *, run_id: str, study_id: str | None, attempt: int) -> Run:
    """The row of a run that has not started: what the spec alone decides."""
    options = spec.loss.options
    buckets, chunks = options.get("n_buckets"), options.get("n_chunks")
    return Run(
        run_id=run_id,
        study_id=study_id,
        fingerprint="",
        attempt=attempt,
        outcome=Outcome.RUNNING,
        phase=None,
        error=None,
        dataset=spec.dataset,
        data_fingerprint=None,
        num_users=None,
        num_items=None,
        num_interactions=None,
        protocol=spec.protocol,
        model=short(spec.model.name),
        loss=short(spec.loss.name),
        batch_size=spec.batch.size,
        max_len=spec.batch.max_len,
        hidden_dim=spec.model.options.get("hidden_dim"),
        num_negatives=sum(source.num_negatives for source in spec.negatives),
        rounds=options.get("rounds"),
        n_buckets=None if buckets is None else str(buckets),
        n_chunks=chunks if isinstance(chunks, int) else None,  # "auto" is as many as buckets
        n_extra_chunks=options.get("n_extra_chunks"),
        seed=spec.train.seed,
        spec=spec.as_json(),
        started_at=datetime.now(UTC).replace(tzinfo=None),
        wall_s=None,
        train_s=None,
        eval_s=None,
        best_epoch=None,
        epochs=None,
        tokens_per_s=None,
        wait_fraction=None,
        resolved=None,
        origin=json.dumps(_origin(spec), sort_keys=True),
        stopped=None,
        account_error=None,
        tied_targets=None,
        repeated_targets=None,
        results_version=RESULTS_VERSION,
    )


def baselines_of(trainer: Trainer, run: Run) -> tuple[Baseline, ...]:
    """The baselines of a run's data set and protocol."""
    assert run.data_fingerprint is not None
    return baseline_rows(
        trainer.data.interactions,
        trainer.data.split,
        trainer.spec.data,
        data_fingerprint=run.data_fingerprint,
        protocol=run.protocol,
    )


def _origin(spec: RunSpec) -> dict[str, dict[str, str]]:
    """Where the parts of the run are from, its probes among them."""
    probes = {f"probes.{short(name)}": ("probes", name) for name in spec.measure.probes}
    return origin_of({**spec.named_parts(), **probes})
