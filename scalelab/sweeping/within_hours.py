"""Sweep a study within hours that are counted over all calls, the interrupted ones too."""

from pathlib import Path

from scalelab.core.events import SweepObserver
from scalelab.core.study import StudySpec
from scalelab.store.ledger import Ledger
from scalelab.studies.study_toml import study_id
from scalelab.sweeping.hooks import Hooks
from scalelab.sweeping.result import SweepResult
from scalelab.sweeping.runner import sweep

__all__ = ["seconds_used", "sweep_within"]


def sweep_within(
    study: str | Path,
    ledger: Path,
    *,
    hours: float,
    workers: int = 1,
    executor: str = "processes",
    observer: SweepObserver | None = None,
    hooks: Hooks | None = None,
) -> SweepResult:
    """Run what is left of `study` in what is left of `hours`. Raises what `sweep` raises."""
    spec = StudySpec.load(study)
    observer = observer or SweepObserver()
    left_s = 3600 * hours - seconds_used(spec, ledger) / workers
    if left_s <= 0:
        observer.on_message(
            f"the {hours:g} hours are used up; without a limit: scalelab sweep {study} "
            f"--ledger {ledger} --time-budget 1000h"
        )
    return sweep(
        spec,
        ledger,
        workers=workers,
        executor=executor,
        time_budget=left_s if left_s > 0 else None,
        dry_run=left_s <= 0,
        observer=observer,
        hooks=hooks,
    )


def seconds_used(study: StudySpec, ledger: Path) -> float:
    """Seconds that the runs of this study have taken, those that were interrupted too."""
    if not ledger.exists():
        return 0.0
    sql = "SELECT coalesce(sum(wall_s), 0.0) AS used FROM runs WHERE study_id = $1"
    return float(Ledger(ledger).query(sql, [study_id(study, {})])["used"][0].as_py())
