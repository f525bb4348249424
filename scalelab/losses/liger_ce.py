"""Compute full cross-entropy by the fused Triton kernel of liger-kernel (Hsu et al., 2024)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from scalelab.losses import LossBatch
from scalelab.losses._external import check_external
from scalelab.losses._tiles import compute_dtype_of, items_only, no_autocast

__all__ = ["LigerCE"]


@dataclass(frozen=True, kw_only=True)
class LigerCE:
    """The value of `cross_entropy`, for CUDA. An external implementation.

    It works through so few positions at a time that a large catalog makes it slow: one by one
    where the catalog has 1,000 times as many items as a row has numbers.
    """

    needs_negatives: ClassVar[bool] = False

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions. Raises what `check_external` does."""
        check_external("liger_ce", "liger_kernel", hidden_ND)
        from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss

        table_VD, targets_N = items_only(item_table_VD, batch)
        compute_dtype = compute_dtype_of(hidden_ND)
        with no_autocast(hidden_ND):
            fused = LigerFusedLinearCrossEntropyLoss()
            return fused(table_VD.to(compute_dtype), hidden_ND.to(compute_dtype), targets_N)
