"""Place one sequence per row, aligned right, as the papers do; most of a step is padding."""

from dataclasses import dataclass

import numpy as np

from scalelab.batches.packers import Packed

__all__ = ["PadLeft"]


@dataclass(frozen=True, kw_only=True)
class PadLeft:
    """Padding before the sequence, so that its last item stands in the last column."""

    def pack(self, lengths: np.ndarray, *, max_len: int, size: int) -> Packed:
        """Row i for the i-th sequence of a step; see `Packer.pack`."""
        row = np.arange(len(lengths), dtype=np.int32) % np.int32(size)
        begins = np.arange(0, len(lengths), size, dtype=np.int64)
        num_rows = np.minimum(begins + size, len(lengths)) - begins
        return Packed(row, (max_len - lengths).astype(np.int32), num_rows)
