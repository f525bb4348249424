"""Reports of a running run in, what is known of it should it die out."""

from scalelab.core.events import Progress
from scalelab.core.figures import QUALITY, QUALITY_K
from scalelab.core.records import Metric

__all__ = ["Partial"]


class Partial:
    """Where a run stood last, and the validation quality of the epochs behind it."""

    def __init__(self) -> None:
        self.last: Progress | None = None
        self._metrics: dict[int, Metric] = {}

    def note(self, progress: Progress) -> None:
        """Take in a report."""
        state = None if self.last is None else (self.last.phase, self.last.epoch)
        # A report repeats the last metric known, which is this epoch's once it has been evaluated.
        if state == ("evaluate", progress.epoch) and progress.metric is not None:
            self._metrics[progress.epoch] = Metric(
                split="valid",
                epoch=progress.epoch,
                name=QUALITY,
                k=QUALITY_K,
                value=progress.metric,
            )
        self.last = progress

    @property
    def phase(self) -> str:
        """The phase it was in."""
        return "setup" if self.last is None else self.last.phase

    @property
    def epochs(self) -> int | None:
        """The epoch it was in, None before the first."""
        return None if self.last is None else self.last.epoch

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """NDCG@10 on validation by epoch."""
        return tuple(self._metrics.values())
