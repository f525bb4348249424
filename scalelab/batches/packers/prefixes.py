"""Make every prefix of a history a sample of its own, whose one target is the next item."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from scalelab.batches.packers import Packed
from scalelab.batches.packers._fitting import best_fit

__all__ = ["Prefixes"]


@dataclass(frozen=True, kw_only=True)
class Prefixes:
    """The correction of positions that "revisiting SASRec" proposes (its section 4.1).

    A history of n items gives n - 1 samples: its first item, its first two items and so on, each
    cut to its last `max_len` items. So the state that predicts a target is the state that the same
    history has when it is ranked for, wherever positions are counted from, and no history is too
    long to be trained on whole. The cost is an encoded history for each target: rows and steps grow
    with the sum of all prefixes. `batch.size` counts prefixes. Several short ones share a row, as
    with `best_fit`.
    """

    every_prefix: ClassVar[bool] = True

    def pack(self, lengths: np.ndarray, *, max_len: int, size: int) -> Packed:
        """Row and column of each prefix; see `Packer.pack`."""
        return best_fit(lengths, max_len=max_len, size=size)
