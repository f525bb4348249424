"""Look rows of the item table up, as they are or with length 1, and take gradients back to them."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from scalelab.losses._tiles import accumulate_dtype_of

__all__ = ["Rows", "through_unit_rows"]

# As torch.nn.functional.normalize has it: a row of zeros stays one.
_SHORTEST = 1e-12
# Rows whose gradients are taken back at once.
_BLOCK = 2**12


class Rows(NamedTuple):
    """The item table, from which some rows are taken; with `unit` they are scaled to length 1."""

    item_table_VD: Tensor
    compute_dtype: torch.dtype
    unit: bool

    def of(self, ids_M: Tensor) -> Tensor:
        """(M, D) in the type in which products are taken."""
        rows_MD = self.item_table_VD.index_select(0, ids_M)
        if self.unit:
            # In bf16 a row of length 1 has a length of up to 0.4 % more or less.
            rows_MD = rows_MD.to(accumulate_dtype_of(rows_MD))
            rows_MD = functional.normalize(rows_MD, dim=1, eps=_SHORTEST)
        return rows_MD.to(self.compute_dtype)


def through_unit_rows(grad_CD: Tensor, table_VD: Tensor, ids_C: Tensor | None = None) -> None:
    """Turn gradients by rows of length 1 into gradients by the rows of the table, in place.

    Row c of `grad_CD` belongs to row `ids_C[c]` of the table (None: row c); an id behind the table
    marks an empty place. With x = r / |r|, a gradient g by x is (g - (g . x) x) / |r| by r.
    """
    last = len(table_VD) - 1
    for first in range(0, len(grad_CD), _BLOCK):
        part_CD = grad_CD[first : first + _BLOCK]
        if ids_C is None:
            rows_CD = table_VD[first : first + _BLOCK]
        else:
            rows_CD = table_VD.index_select(0, ids_C[first : first + _BLOCK].clamp(max=last))
        rows_CD = rows_CD.to(accumulate_dtype_of(rows_CD))
        length_C1 = rows_CD.norm(dim=1, keepdim=True).clamp_(min=_SHORTEST)
        unit_CD = (rows_CD / length_C1).to(part_CD.dtype)
        along_C1 = (part_CD * unit_CD).sum(1, keepdim=True)
        part_CD.sub_(unit_CD.mul_(along_C1)).div_(length_C1)
