"""Read and split the data set of a run."""

from dataclasses import dataclass

from scalelab.core.spec import RunSpec
from scalelab.datasets import load as datasets
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.splits import Split

__all__ = ["Data", "load_data"]


@dataclass(frozen=True, kw_only=True)
class Data:
    """A data set, split."""

    interactions: Interactions
    split: Split


def load_data(spec: RunSpec) -> Data:
    """Read, filter and split. Raises DataError."""
    interactions = datasets.load(spec.data)
    return Data(interactions=interactions, split=datasets.split(interactions, spec.data))
