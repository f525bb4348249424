"""Say in a sentence what of a data set limits every model: ties of time, and repeated items."""

from scalelab.core.notes import notes_on_targets
from scalelab.core.spec import DataSpec
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.order import tied_share
from scalelab.datasets.splits import Split

__all__ = ["notes"]


def notes(interactions: Interactions, parts: Split, data: DataSpec) -> list[str]:
    """What people must know who read a score on the test targets of `parts`."""
    return notes_on_targets(
        tied_share(interactions, parts.test),
        parts.test.num_repeated / len(parts.test),
        ties=data.ties,
        exclude_seen=data.exclude_seen,
    )
