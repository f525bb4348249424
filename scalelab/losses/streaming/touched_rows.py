"""Add up gradients of some rows of the item table, each row once, without a pass over the table."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor  # noqa: PLC2701

from scalelab.losses._tiles import accumulate_dtype_of, add_rows

__all__ = ["TouchedByTile", "TouchedRows"]


class TouchedRows:
    """The rows that `ids` name, in ascending order, and the sum of their gradients.

    How many different rows M ids name is known to the device alone, so there is memory for as many
    as they may be, C = min(M, V + 1). Places that stay empty come last: their id is V, which no row
    has, and their gradient is 0. Of the table only shape, type and device count.
    """

    def __init__(self, ids: Sequence[Tensor], table_VD: Any) -> None:
        self.num_rows = table_VD.shape[0]
        all_M = torch.cat([each.flatten().long() for each in ids])
        sorted_M = all_M.sort().values
        is_first_M = torch.ones_like(sorted_M)
        torch.ne(sorted_M[1:], sorted_M[:-1], out=is_first_M[1:])
        place_M = is_first_M.cumsum_(0).sub_(1)
        # One more for the empty places of other `TouchedRows`, whose id is V too.
        space = min(all_M.shape[0], self.num_rows + 1)
        self.ids_C = torch.full_like(all_M[:space], self.num_rows)
        self.ids_C.scatter_(0, place_M, sorted_M)
        # Not `new_zeros`: a count of operations would take the table for read.
        depth, dtype, device = table_VD.shape[1], accumulate_dtype_of(table_VD), table_VD.device
        self.grad_CD = torch.zeros((space, depth), dtype=dtype, device=device)

    def add(self, ids_M: Tensor, rows_MD: Tensor) -> None:
        """Add `rows_MD` to the gradients of the rows `ids_M`, which the ids of all contain."""
        add_rows(self.grad_CD, torch.searchsorted(self.ids_C, ids_M.long()), rows_MD)


class TouchedByTile:
    """Touched rows, found by the tile that they lie in: they are in order, so each is a slice."""

    def __init__(self, touched: TouchedRows, width: int) -> None:
        self.grad_CD, self.width = touched.grad_CD, width
        self.place_C = touched.ids_C % width
        tiles = -(-touched.num_rows // width)
        firsts = torch.arange(tiles + 1, device=touched.ids_C.device).mul_(width)
        firsts.clamp_(max=touched.num_rows)
        counts = torch.searchsorted(touched.ids_C, firsts)
        # Fake tensors have no values; a slice takes no memory, whatever its length.
        self.edges = [0] * (tiles + 1) if isinstance(counts, FakeTensor) else counts.tolist()

    def add(self, grad_WD: Tensor, first: int) -> None:
        """Add the gradients of the touched rows among `first` and those after it to `grad_WD`."""
        tile = first // self.width
        inside = slice(self.edges[tile], self.edges[tile + 1])
        add_rows(grad_WD, self.place_C[inside], self.grad_CD[inside])
