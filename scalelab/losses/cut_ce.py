"""Full cross-entropy by the Triton kernels of cut-cross-entropy (Wijmans et al., 2024): a rival."""

from dataclasses import dataclass
from typing import ClassVar

from cut_cross_entropy import linear_cross_entropy
from torch import Tensor

from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch
from scalelab.losses._tiles import inner_dtype, items_only, no_autocast

__all__ = ["CutCE"]


@dataclass(frozen=True, kw_only=True)
class CutCE:
    """The value of `cross_entropy`, for CUDA; `impl` is the package's name of a variant.

    "cce" leaves out gradients too small for bfloat16 to show, "cce_exact" keeps them. No GPU has
    confirmed this wrapper yet.
    """

    impl: str = "cce"

    needs_negatives: ClassVar[bool] = False

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions. Raises SpecError where the tensors are not on CUDA."""
        if hidden_ND.device.type != "cuda":
            raise SpecError(
                f"cut_ce runs on CUDA, not on {hidden_ND.device.type}", "use cross_entropy"
            )
        table_VD, targets_N = items_only(item_table_VD, batch)
        inner = inner_dtype(hidden_ND)
        with no_autocast(hidden_ND):
            return linear_cross_entropy(
                hidden_ND.to(inner), table_VD.to(inner), targets_N, impl=self.impl
            )
