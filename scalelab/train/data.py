"""Read and split the data set of a run."""

from dataclasses import dataclass

from scalelab.core.spec import RunSpec
from scalelab.datasets import load as datasets
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.order import tied_share
from scalelab.datasets.splits import Split

__all__ = ["Data", "load_data"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set, split."""

    interactions: Interactions
    split: Split

    @property
    def tied_targets(self) -> float | None:
        """Share of the test targets that have the time of the item before; None without times."""
        return tied_share(self.interactions, self.split.test)

    @property
    def repeated_targets(self) -> float:
        """Share of the test targets that their users had before."""
        return self.split.test.num_repeated / len(self.split.test)


def load_data(spec: RunSpec) -> Data:
    """Read, filter and split. Raises DataError."""
    interactions = datasets.load(spec.data)
    return Data(interactions=interactions, split=datasets.split(interactions, spec.data))
