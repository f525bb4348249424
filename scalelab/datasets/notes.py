"""Say in a sentence what of a data set limits every model: ties of time, and repeated items."""

from scalelab.core.spec import DataSpec
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.order import tied_share
from scalelab.datasets.splits import Split

__all__ = ["notes"]

# Below this share of the test targets ties decide little.
_MANY_TIES = 0.05


def notes(interactions: Interactions, parts: Split, data: DataSpec) -> list[str]:
    """What people must know who read a score on the test targets of `parts`."""
    found = []
    ties = tied_share(interactions, parts.test)
    if ties is not None and ties >= _MANY_TIES and data.ties == "file":
        found.append(
            f"ties: {100 * ties:.0f} % of the test targets have the time of the item before, so "
            'the order of the file decides which is the target; data.ties = "hash" takes that away'
        )
    repeats = parts.test.num_repeated / len(parts.test)
    if repeats > 0.5 and data.exclude_seen:
        found.append(
            f"repeats: {100 * repeats:.0f} % of the test targets are misses only because their "
            'users had them before; see data.drop ("exact", "consecutive") and data.exclude_seen'
        )
    return found
