"""Make the row of a run that has not started: what its spec alone decides."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from scalelab.core.identity import RESULTS_VERSION
from scalelab.core.locating import short
from scalelab.core.part_sources import origin_of
from scalelab.core.records import Outcome, Run
from scalelab.core.spec import RunSpec

__all__ = ["new_row", "resolved_by_spec"]

# Words in place of a number that a loss finds when it runs.
_UNDECIDED = ("auto", "paper")


def new_row(spec: RunSpec, *, run_id: str, study_id: str | None, attempt: int) -> Run:
    """Everything that is measured is None, the fingerprint empty."""
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
        resolved=resolved_by_spec(spec.loss.options),
        origin=json.dumps(_origin(spec), sort_keys=True),
        stopped=None,
        account_error=None,
        tied_targets=None,
        repeated_targets=None,
        results_version=RESULTS_VERSION,
    )


def _origin(spec: RunSpec) -> dict[str, dict[str, str]]:
    """Where the parts of the run are from, its probes among them."""
    probes = {f"probes.{short(name)}": ("probes", name) for name in spec.measure.probes}
    return origin_of({**spec.named_parts(), **probes})


def resolved_by_spec(options: Mapping[str, Any]) -> str:
    """JSON for the column `resolved`: the options of a loss that its spec decides alone."""
    decided = {key: value for key, value in options.items() if value not in _UNDECIDED}
    return json.dumps({"loss": decided}, sort_keys=True)
