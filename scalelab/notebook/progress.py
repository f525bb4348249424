"""Show a progress bar while a verb works in a notebook; elsewhere nothing is shown."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from scalelab.core.events import Planned, Progress, SweepObserver
from scalelab.core.figures import metric_name
from scalelab.core.records import Outcome, Record

__all__ = ["SweepBar", "ignored", "in_notebook", "planning_bar", "profile_bar"]


def in_notebook() -> bool:
    """Whether the code runs in a Jupyter kernel, which can show a bar below the code."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return hasattr(shell, "kernel")


class SweepBar(SweepObserver):
    """A bar over the runs of a sweep, with the run in progress and its quality beside it."""

    def __init__(self) -> None:
        self._bar = _bar(unit="run")
        self._labels: dict[str, str] = {}

    def on_plan(self, name: str, device: str, cells: Sequence[Planned]) -> None:
        self._labels = {cell.run_id: cell.label for cell in cells}
        self._bar.total = sum(
            not cell.finished_before and cell.skipped_because is None for cell in cells
        )
        self._bar.set_description(name)

    def on_activity(self, text: str) -> None:
        self._bar.set_postfix_str(text)

    def on_progress(self, progress: Progress) -> None:
        label = self._labels.get(progress.run_id, progress.run_id)
        quality = _quality(progress)
        self._bar.set_postfix_str(f"{label}: epoch {progress.epoch}/{progress.epochs}{quality}")

    def on_run_end(self, record: Record) -> None:
        if record.run.outcome is not Outcome.SKIPPED:
            self._bar.update()

    def on_message(self, text: str) -> None:
        self._bar.write(text)

    def close(self) -> None:
        """Ends the bar."""
        self._bar.set_postfix_str("")
        self._bar.close()


@contextmanager
def planning_bar() -> Iterator[Callable[[int, int, str], None]]:
    """A function for how many are done, of how many, and what is next, which moves a bar."""
    bar = _bar(unit="prediction")

    def report(done: int, total: int, label: str) -> None:
        bar.total = total
        bar.set_postfix_str(label, refresh=False)
        bar.update(done - bar.n)
        bar.refresh()

    try:
        yield report
        bar.update((bar.total or 0) - bar.n)
        bar.set_postfix_str("")
    finally:
        bar.close()


@contextmanager
def profile_bar() -> Iterator[Callable[[Progress], None]]:
    """A function for the progress of a run, which moves a bar over its epochs."""
    bar = _bar(unit="epoch")

    def report(progress: Progress) -> None:
        bar.total = progress.epochs
        quality = _quality(progress)
        bar.set_postfix_str(f"{progress.phase}{quality}", refresh=False)
        bar.update(max(0, progress.epoch - bar.n))
        bar.refresh()

    try:
        yield report
        bar.set_postfix_str("")
    finally:
        bar.close()


def ignored(done: int, total: int, label: str) -> None:
    """Show nothing of a planning, where there is no bar."""


def _quality(progress: Progress) -> str:
    if progress.metric is None:
        return ""
    return f", {metric_name(progress.metric_key)} {progress.metric:.4f}"


def _bar(**options: Any) -> Any:
    from tqdm.auto import tqdm  # only now: it takes time, and scripts need no bar

    return tqdm(total=None, **options)
