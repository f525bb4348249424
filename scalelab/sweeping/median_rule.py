"""Quality by epoch in, a reason to end a run out: the median rule (Golovin et al., 2017)."""

import statistics
from collections import defaultdict

from scalelab.core.events import Progress
from scalelab.core.figures import quality_curve
from scalelab.core.records import Outcome, Record
from scalelab.sweeping.jobs import Job

__all__ = ["MedianRule"]

_LEAST_RUNS = 4
_LEAST_EPOCH = 3


class MedianRule:
    """A run whose best validation quality so far lies below the median of what finished runs of the
    same data and protocol had reached by that epoch is not worth its remaining time."""

    def __init__(self) -> None:
        # By data and protocol, then by run: its best quality up to each epoch.
        self._finished: dict[tuple[str, str], list[dict[int, float]]] = defaultdict(list)
        self._ended: set[str] = set()

    def hopeless(self, job: Job, progress: Progress) -> str | None:
        """Why this run should end, or None. Says so once a run."""
        best, epoch = progress.best_metric, progress.epoch
        if best is None or epoch < _LEAST_EPOCH or progress.run_id in self._ended:
            return None
        others = [_by(epoch, curve) for curve in self._finished[_group(job)] if min(curve) <= epoch]
        if len(others) < _LEAST_RUNS:
            return None
        median = statistics.median(others)
        if best >= median:
            return None
        self._ended.add(progress.run_id)
        number = len(others)
        return f"{best:.4f} at epoch {epoch} lies below {median:.4f}, the median of {number} runs"

    def learn(self, job: Job, record: Record) -> None:
        """Remember the curve of a run that went its whole way."""
        if record.run.outcome is not Outcome.DONE:
            return
        curve = quality_curve(record.metrics)
        if curve:
            self._finished[_group(job)].append(curve)


def _group(job: Job) -> tuple[str, str]:
    return job.data_fingerprint, job.cell.spec.protocol


def _by(epoch: int, curve: dict[int, float]) -> float:
    return max(value for at, value in curve.items() if at <= epoch)
