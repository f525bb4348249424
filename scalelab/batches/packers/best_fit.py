"""Place the longest sequence first, each in the row that it fills best."""

from dataclasses import dataclass

import numpy as np

from scalelab.batches.packers import Packed
from scalelab.batches.packers._fitting import best_fit

__all__ = ["BestFit"]


@dataclass(frozen=True, kw_only=True)
class BestFit:
    """Best fit decreasing: 11/9 of the fewest rows at most, and a constant (Johnson, 1974)."""

    def pack(self, lengths: np.ndarray, *, max_len: int, size: int) -> Packed:
        """Row and column of each sequence; see `Packer.pack`."""
        return best_fit(lengths, max_len=max_len, size=size)
