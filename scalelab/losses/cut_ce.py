"""Compute full cross-entropy by the Triton kernels of cut-cross-entropy (Wijmans et al., 2024)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch
from scalelab.losses._external import check_external
from scalelab.losses._tiles import compute_dtype_of, items_only, no_autocast

__all__ = ["CutCE"]


@dataclass(frozen=True, kw_only=True)
class CutCE:
    """The loss of `cross_entropy`, with gradients that are inexact by default; CUDA and bf16 only.

    The package leaves out the gradient of every block of scores in which no softmax
    differs from its target by more than `filter_eps`: "auto" is 2^-12, which over a large catalog
    leaves out most negatives. "none" keeps all of them and is exact. An external implementation.
    """

    filter_eps: Annotated[
        float | Literal["auto", "none"],
        Field(description="blocks with smaller gradients are left out; auto: 2^-12, none: exact"),
    ] = "auto"

    needs_negatives: ClassVar[bool] = False

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions. Raises what `check_external` does, SpecError for fp32."""
        check_external("cut_ce", "cut_cross_entropy", hidden_ND)
        compute_dtype = compute_dtype_of(hidden_ND)
        if compute_dtype not in (torch.bfloat16, torch.float16):
            raise SpecError(
                "cut_ce has no backward pass in fp32", "write --set train.precision=bf16"
            )
        from cut_cross_entropy import linear_cross_entropy

        table_VD, targets_N = items_only(item_table_VD, batch)
        with no_autocast(hidden_ND):
            return linear_cross_entropy(
                hidden_ND.to(compute_dtype),
                table_VD.to(compute_dtype),
                targets_N,
                filter_eps=None if self.filter_eps == "none" else self.filter_eps,
            )
