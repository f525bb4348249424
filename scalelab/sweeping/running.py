"""Describe a run that is running, and make its record where it cannot report its end itself."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from scalelab.core.records import Memory, Outcome, Record
from scalelab.sweeping.jobs import Job
from scalelab.workers.last_progress import LastProgress
from scalelab.workers.task import Task, task_record

__all__ = ["Running", "unfinished_record"]


class Running(NamedTuple):
    """A job that runs, on which device, since when, and how far it is known to be."""

    job: Job
    task: Task
    device: str
    started_s: float
    started_at: datetime
    last_progress: LastProgress


def unfinished_record(
    running: Running, outcome: Outcome, reason: str, memory: Sequence[Memory] = ()
) -> Record:
    """The record of a run whose process or node was lost, or that was stopped at once."""
    return task_record(
        running.task,
        outcome,
        phase=running.last_progress.phase,
        error=reason,
        started_at=running.started_at,
        metrics=running.last_progress.metrics,
        memory=memory,
        epochs=running.last_progress.epochs,
    )
