"""Compute full cross-entropy by torch's own chunked `linear_cross_entropy` (torch 2.13)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from scalelab.core.errors import MissingExtra
from scalelab.losses import LossBatch
from scalelab.losses._tiles import compute_dtype_of, items_only, no_autocast

__all__ = ["LinearCE"]


@dataclass(frozen=True, kw_only=True)
class LinearCE:
    """The value of `cross_entropy`, from chunks of positions that torch chooses."""

    needs_negatives: ClassVar[bool] = False

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions. Raises MissingExtra before torch 2.13."""
        if not hasattr(functional, "linear_cross_entropy"):
            raise MissingExtra(
                f"linear_ce needs torch 2.13, this is {torch.__version__}",
                "pip install 'torch>=2.13', or write --set loss.name=cross_entropy",
            )
        table_VD, targets_N = items_only(item_table_VD, batch)
        compute_dtype = compute_dtype_of(hidden_ND)
        # Autocast passes by the chunked operation: it casts nothing itself.
        with no_autocast(hidden_ND):
            return functional.linear_cross_entropy(
                hidden_ND.to(compute_dtype),
                table_VD.to(compute_dtype),
                targets_N,
                options=torch.nn.LinearCrossEntropyOptions(),
            )
