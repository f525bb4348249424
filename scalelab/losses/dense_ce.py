"""Compute full cross-entropy over a materialised logit matrix, as plain code does."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from scalelab.losses import LossBatch
from scalelab.losses._options import IncludePadding
from scalelab.losses._tiles import items_only

__all__ = ["DenseCE"]


@dataclass(frozen=True, kw_only=True)
class DenseCE:
    """Builds all N x V logits, as plain code does: about 3 N V floats at its peak.

    `include_padding` leaves the padding row in the softmax, as the RECE repository does.
    """

    include_padding: IncludePadding = False

    needs_negatives: ClassVar[bool] = False

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions of -log softmax(hidden @ table.T)[target]."""
        targets_N = batch.targets_N.long()
        if not self.include_padding:
            # A view of the items alone: masking a column would cost autograd another N x V.
            item_table_VD, targets_N = items_only(item_table_VD, batch)
        return functional.cross_entropy(hidden_ND @ item_table_VD.T, targets_N)
