"""Full cross-entropy by the fused Triton kernel of liger-kernel (Hsu et al., 2024): a rival."""

from dataclasses import dataclass
from typing import ClassVar

from liger_kernel.transformers import LigerFusedLinearCrossEntropyLoss
from torch import Tensor

from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch
from scalelab.losses._tiles import inner_dtype, items_only, no_autocast

__all__ = ["LigerCE"]


@dataclass(frozen=True, kw_only=True)
class LigerCE:
    """The value of `cross_entropy`, for CUDA. No GPU has confirmed this wrapper yet."""

    needs_negatives: ClassVar[bool] = False

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions. Raises SpecError where the tensors are not on CUDA."""
        if hidden_ND.device.type != "cuda":
            raise SpecError(
                f"liger_ce runs on CUDA, not on {hidden_ND.device.type}", "use cross_entropy"
            )
        table_VD, targets_N = items_only(item_table_VD, batch)
        inner = inner_dtype(hidden_ND)
        with no_autocast(hidden_ND):
            fused = LigerFusedLinearCrossEntropyLoss()
            return fused(table_VD.to(inner), hidden_ND.to(inner), targets_N)
