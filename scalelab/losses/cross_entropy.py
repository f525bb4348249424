"""Exact full cross-entropy in tiles: no logit matrix, gradients formed beside the loss."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from scalelab.losses import LossBatch
from scalelab.losses._tiles import (
    formed,
    inner_dtype,
    no_autocast,
    outer_dtype,
    spans,
    target_scores,
)

__all__ = ["CrossEntropy"]


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """The value and gradients of `dense_ce`, from tiles of `tile_positions` rows."""

    tile_mib: int = 32
    include_padding: bool = False

    needs_negatives: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.tile_mib < 1:
            raise ValueError(f"tile_mib must be at least 1, got {self.tile_mib}")

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions of -log softmax(hidden @ table.T)[target]."""
        inner = inner_dtype(hidden_ND)

        def compute(hidden_ND, item_table_VD, hidden_wanted, table_wanted):
            with no_autocast(hidden_ND):
                return self._compute(
                    hidden_ND, item_table_VD, batch, inner, hidden_wanted, table_wanted
                )

        return formed(compute, hidden_ND, item_table_VD)

    def _compute(self, hidden_ND, item_table_VD, batch, inner, hidden_wanted, table_wanted):
        num_positions, num_rows = hidden_ND.shape[0], item_table_VD.shape[0]
        outer = outer_dtype(hidden_ND)
        size = max(1, min(128, self.tile_mib * 2**20 // (num_rows * 4)))
        grad_hidden_ND = torch.empty_like(hidden_ND) if hidden_wanted else None
        grad_table_VD = torch.zeros_like(item_table_VD) if table_wanted else None
        table = item_table_VD.to(inner)
        total = torch.zeros((), dtype=outer, device=hidden_ND.device)
        for start, stop in spans(num_positions, size, hidden_ND):
            hidden_TD, targets_T = (
                hidden_ND[start:stop].to(inner),
                batch.targets_N[start:stop].long(),
            )
            rows_TD = item_table_VD[targets_T]
            logits = (hidden_TD @ table.T).to(outer)
            if not self.include_padding:
                logits[:, batch.pad_id] = -torch.inf
            score_T = target_scores(hidden_TD, rows_TD, inner)
            top_T = logits.amax(1)
            share = torch.softmax(logits, 1, out=logits)
            lse_T = top_T - share.amax(1).log()
            total += (lse_T - score_T).sum()
            share = share.div_(num_positions)
            if grad_hidden_ND is not None:
                grad = share.to(inner) @ table
                grad_hidden_ND[start:stop] = grad.to(outer) - rows_TD.to(outer) / num_positions
            if grad_table_VD is not None:
                grad_table_VD += share.to(inner).T @ hidden_TD
                grad_table_VD.index_add_(
                    0, targets_T, hidden_TD.to(grad_table_VD.dtype), alpha=-1.0 / num_positions
                )
        return total / num_positions, grad_hidden_ND, grad_table_VD
