"""Full cross-entropy over a materialised logit matrix: the baseline that the papers measure against."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from scalelab.losses import LossBatch

__all__ = ["DenseCE"]


@dataclass(frozen=True, kw_only=True)
class DenseCE:
    """Builds all N x V logits, as plain code does: about 3 N V floats at its peak.

    `include_padding` leaves the padding row in the softmax, as the RECE repository does.
    """

    include_padding: bool = False

    needs_negatives: ClassVar[bool] = False

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions of -log softmax(hidden @ table.T)[target]."""
        targets_N, num_rows = batch.targets_N, item_table_VD.shape[0]
        if not self.include_padding:
            # A view of the items alone: masking a column would cost autograd another N x V.
            if batch.pad_id == 0:
                item_table_VD, targets_N = item_table_VD[1:], targets_N - 1
            elif batch.pad_id == num_rows - 1:
                item_table_VD = item_table_VD[:-1]
            else:
                raise ValueError(f"pad_id {batch.pad_id} is neither the first nor the last row")
        return F.cross_entropy(hidden_ND @ item_table_VD.T, targets_N.long())
