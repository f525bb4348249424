"""Make rows of an item table from a few codewords that all items share."""

from typing import Self

import torch
from torch import Tensor

from scalelab.models._lookup import rows_at

__all__ = ["ComposedRows"]


class ComposedRows:
    """Rows of an item table, in the place of the (V, D) tensor that would hold them all.

    Item v has the codes `codes_VM[v]`, one for each of M parts of its row; part m is the codeword
    `codewords_CP[m * (C / M) + codes_VM[v, m]]`. Row 0 is zero. Losses that stream read
    `rows[first:last]` and `rows.index_select(0, ids)`, and for shape, type and device.
    """

    def __init__(self, codes_VM: Tensor, codewords_CP: Tensor) -> None:
        self.codes_VM, self.codewords_CP = codes_VM, codewords_CP
        (num_rows, parts), (num_codewords, width) = codes_VM.shape, codewords_CP.shape
        self.shape = torch.Size((num_rows, parts * width))
        self.dtype, self.device = codewords_CP.dtype, codewords_CP.device
        self._first_M = range(0, num_codewords, num_codewords // parts)

    def __len__(self) -> int:
        return self.shape[0]

    def size(self, dim: int) -> int:
        """As that of a tensor."""
        return self.shape[dim]

    def detach(self) -> Self:
        """The same rows, whose gradient is nobody's matter."""
        return type(self)(self.codes_VM, self.codewords_CP.detach())

    def __getitem__(self, rows: slice) -> Tensor:
        first, last, _ = rows.indices(self.shape[0])
        rows_WD = self._composed(self.places(self.codes_VM[first:last]))
        if first == 0:
            rows_WD[:1] = 0.0
        return rows_WD

    def index_select(self, dim: int, ids_M: Tensor) -> Tensor:
        """Rows by their ids."""
        assert dim == 0, "rows are the first dimension"
        rows_MD = self._composed(self.places(self.codes_VM.index_select(0, ids_M)))
        return rows_MD.masked_fill_((ids_M == 0).unsqueeze(1), 0.0)

    def places(self, codes_WM: Tensor) -> Tensor:
        """Which codewords make up rows with such codes, flat, int32."""
        first_M = torch.arange(
            0, self._first_M.stop, self._first_M.step, dtype=torch.int32, device=self.device
        )
        return (codes_WM + first_M).flatten()

    def _composed(self, places: Tensor) -> Tensor:
        return rows_at(self.codewords_CP, places).view(-1, self.shape[1])
