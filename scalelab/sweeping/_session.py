"""What a sweep asks of the lab: to run a task, to name its data, to predict."""

from collections.abc import Callable, Sequence
from pathlib import Path

from scalelab.core import plugins
from scalelab.core.events import Progress
from scalelab.core.records import Record
from scalelab.core.spec import DataSpec, RunSpec
from scalelab.datasets import load as datasets
from scalelab.measure import session
from scalelab.sweeping._plan import Forecast
from scalelab.sweeping._task import Stop, Task

__all__ = ["RUN", "fingerprint", "forecast", "modules", "run"]

RUN = "scalelab.sweeping._session:run"
# Slow to import and wanted by every run: the optimizers of torch pull in its compiler.
_EVERY_RUN = ("torch._dynamo", "torch.utils._python_dispatch", "scalelab.train.assemble")


def run(task: Task, report: Callable[[Progress], None], stop: Stop) -> Record:
    """Train and measure, in this process."""
    return session.run(
        task.spec,
        run_id=task.run_id,
        study_id=task.study_id,
        attempt=task.attempt,
        limits=task.limits,
        report=report,
        stop=stop,
        keep=None if task.keep is None else Path(task.keep),
    )


def modules(specs: Sequence[RunSpec]) -> list[str]:
    """What the runs of these specs will import, each once."""
    parts = {
        f"{plugins.KINDS[kind]}.{name}"
        for spec in specs
        for kind, name in (
            ("models", spec.model.name),
            ("losses", spec.loss.name),
            ("packers", spec.batch.packer),
            ("readers", spec.data.reader),
            *(("negatives", source.name) for source in spec.negatives),
        )
    }
    return [*_EVERY_RUN, *sorted(parts)]


def fingerprint(data: DataSpec) -> str:
    """What the data are, wherever they lie. Raises DataError."""
    return datasets.fingerprint(data)


def forecast(specs: Sequence[RunSpec]) -> list[Forecast | None]:
    """What each run is expected to take."""
    return [None for _ in specs]
