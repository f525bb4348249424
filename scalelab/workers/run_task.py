"""Run a task in the current process, and list the modules that its run will import.

torch is imported by the functions that need it: an invalid study must not wait for it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from scalelab.core.events import Progress
from scalelab.core.locating import locate
from scalelab.core.records import Record
from scalelab.core.spec import RunSpec
from scalelab.workers.task import Stop, Task

__all__ = ["RUN", "modules", "run"]

RUN = "scalelab.workers.run_task:run"
# Slow to import and used by every run: torch's optimizers import its compiler.
_EVERY_RUN = ("torch._dynamo", "scalelab.measure.session", "scalelab.planning.predict")
# Their packages query the GPUs when they are imported. In the process that runs are forked from,
# that could start CUDA, and no process forked afterwards could use it.
_ONLY_IN_THE_RUN = frozenset({"cut_ce", "liger_ce"})


def run(task: Task, report: Callable[[Progress], None], stop: Stop) -> Record:
    """Train and measure in this process."""
    from scalelab.measure import session

    return session.run(
        task.spec,
        run_id=task.run_id,
        study_id=task.study_id,
        attempt=task.attempt,
        limits=task.limits,
        report=report,
        stop=stop,
        keep=None if task.checkpoint_dir is None else Path(task.checkpoint_dir),
        baselines=task.baselines,
    )


def modules(specs: Sequence[RunSpec]) -> list[str]:
    """What the runs of these specs will import, each once."""
    named = {part for spec in specs for part in spec.named_parts().values()}
    places = [locate(*part) for part in named]
    # Other people's modules too are imported in the run alone: what they do then is not known, and
    # every run shall have them as they are when it starts.
    parts = {p.module for p in places if p.in_tree and p.name not in _ONLY_IN_THE_RUN}
    return [*_EVERY_RUN, *sorted(parts)]
