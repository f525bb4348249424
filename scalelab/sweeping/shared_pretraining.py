"""Count a pre-training that runs share for the one that does it."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scalelab.sweeping.jobs import Job

__all__ = ["counted_once"]


def counted_once(jobs: Sequence[Job], checkpoint_root: Path, known: set[Path]) -> list[Job]:
    """The jobs in the same order, without the seconds of a pre-training that is there already or
    that an earlier one does. `known` are folders of such; those of these jobs are added.
    """
    found: list[Job] = []
    for job in jobs:
        forecast = job.forecast
        if job.due and forecast is not None and forecast.pretraining_range is not None:
            # Imported here: only runs with a pre-training, which have planned with torch, need it.
            from scalelab.train.shared_pretraining import shared_folder

            run_folder = checkpoint_root / job.fingerprint
            folder = shared_folder(job.configuration.spec, job.data_fingerprint, run_folder)
            if folder is not None:
                if folder in known or folder.is_dir():
                    job = replace(job, forecast=forecast.without_pretraining)
                known.add(folder)
        found.append(job)
    return found
