"""Decide by the median rule (Golovin et al., 2017) whether a run should be pruned."""

import statistics
from collections import defaultdict

from scalelab.core.events import Progress
from scalelab.core.figures import quality_curve
from scalelab.core.records import Outcome, Record
from scalelab.core.verdicts import left_plateau
from scalelab.sweeping.jobs import Job

__all__ = ["MedianRule"]

_LEAST_RUNS = 4
_LEAST_EPOCH = 3


class MedianRule:
    """Prunes a run whose best validation quality is below the median of finished runs.

    Those are the runs of the same data, protocol and metric, with what each had reached by that
    epoch.
    """

    def __init__(self) -> None:
        # By data, protocol and metric, then by run: its best quality up to each epoch.
        self._finished: dict[tuple[str, str, str], list[dict[int, float]]] = defaultdict(list)
        self._pruned: set[str] = set()

    def should_prune(self, job: Job, progress: Progress) -> str | None:
        """Why this run should end, or None. A run gets at most one reason."""
        best, epoch = progress.best_metric, progress.epoch
        if best is None or epoch < _LEAST_EPOCH or progress.run_id in self._pruned:
            return None
        # A loss with many negatives is level with the popularity list before it passes others.
        popularity = progress.popularity
        updates = epoch * progress.num_steps // job.configuration.spec.train.accumulate
        if popularity is not None and not left_plateau(best, popularity, updates):
            return None
        others = [
            _best_until(epoch, curve)
            for curve in self._finished[_group(job)]
            if min(curve) <= epoch
        ]
        if len(others) < _LEAST_RUNS:
            return None
        median = statistics.median(others)
        if best >= median:
            return None
        self._pruned.add(progress.run_id)
        number = len(others)
        return f"{best:.4f} at epoch {epoch} is below {median:.4f}, the median of {number} runs"

    def record(self, job: Job, record: Record) -> None:
        """Keep the validation quality by epoch of a run that is done."""
        if record.run.outcome is not Outcome.DONE:
            return
        curve = quality_curve(record.metrics, key=job.configuration.spec.evaluate.metric)
        if curve:
            self._finished[_group(job)].append(curve)


def _group(job: Job) -> tuple[str, str, str]:
    spec = job.configuration.spec
    return job.data_fingerprint, spec.protocol, spec.evaluate.metric


def _best_until(epoch: int, curve: dict[int, float]) -> float:
    return max(value for at, value in curve.items() if at <= epoch)
