"""Keep the last progress of a run, for its record should its process be killed."""

from scalelab.core.events import Progress
from scalelab.core.records import Memory, Metric

__all__ = ["LastProgress"]


class LastProgress:
    """The last progress of a run, and the validation quality of its finished epochs."""

    def __init__(self) -> None:
        self.last: Progress | None = None
        self._metrics: dict[int, Metric] = {}

    def update(self, progress: Progress) -> None:
        """Handle one progress report."""
        state = None if self.last is None else (self.last.phase, self.last.epoch)
        # Reports repeat the last metric; it is of this epoch once the epoch has been evaluated.
        if state == ("evaluate", progress.epoch) and progress.metric is not None:
            name, _, k = progress.metric_key.partition("@")
            self._metrics[progress.epoch] = Metric(
                split="valid",
                epoch=progress.epoch,
                name=name,
                k=int(k),
                value=progress.metric,
            )
        self.last = progress

    @property
    def phase(self) -> str:
        """The last phase."""
        return "setup" if self.last is None else self.last.phase

    @property
    def epochs(self) -> int | None:
        """The last epoch of training, None before the first."""
        known = self.last is not None and self.last.phase != "pretrain"
        return self.last.epoch if known and self.last else None

    @property
    def memory(self) -> tuple[Memory, ...]:
        """The peak of training, where the run has measured and reported it."""
        if self.last is None or self.last.used_bytes is None:
            return ()
        peak = Memory(
            stage="train",
            kind="requested",
            component="total",
            bytes=self.last.used_bytes,
            reason=None,
            source="measured",
        )
        return (peak,)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The validation metric that chooses the epoch, by epoch."""
        return tuple(self._metrics.values())
