"""Compute cross-entropy by the kernels where the gradient of the item table is made by tiles.

The forward pass is that of `fused.py`. Over the catalog the kernel `table` then finishes the rows
of one tile at a time, which the optimizer updates and forgets; over shared negatives few rows have
a gradient.
"""

from typing import Any

import torch
from torch import Tensor

from scalelab.losses._tiles import accumulate_dtype_of, no_autocast
from scalelab.losses.kernels.fused import Known, forward_pass, target_rows, write_rows
from scalelab.losses.kernels.scan import Problem
from scalelab.losses.streaming.table_gradient import RowGradient, TableGradient

__all__ = ["FusedStream"]


class FusedStream(TableGradient):
    """One batch: its targets and negatives, and after `loss` the log-sum-exp of each position."""

    def __init__(self, item_table_VD: Any, problem: Problem) -> None:
        self.table_VD, self.problem = item_table_VD.detach(), problem
        self.touches_all = problem.shared is None
        self.known: Known | None = None

    def loss(self, hidden_ND: Tensor, hidden_wanted: bool) -> tuple[Tensor, Tensor | None]:
        """The sum of the losses, and that of the gradients by `hidden_ND`."""
        with no_autocast(hidden_ND):
            loss_N, self.known, grad_ND = forward_pass(
                hidden_ND.detach(),
                self.table_VD,
                self.problem,
                hidden_wanted=hidden_wanted,
                position_weight=1.0,
            )
            return loss_N.sum(), grad_ND

    def single_rows(self) -> list[RowGradient]:
        """Over shared negatives: the gradients of their rows and of those of the targets."""
        shared = self.problem.shared
        if shared is None:
            return []
        known, scale = self._ready()
        wide = accumulate_dtype_of(known.rows)
        grad_KD = torch.empty(known.rows.shape, dtype=wide, device=known.rows.device)
        write_rows(grad_KD, known, self.problem, scale, position_weight=1.0)
        target_ND = target_rows(known, scale)
        self.known = None
        targets_N = self.problem.targets_N
        return [RowGradient(shared.ids_K, grad_KD), RowGradient(targets_N, target_ND)]

    def add_tile(self, grad_WD: Tensor, first: int, last: int) -> None:
        """Add the softmax of each position, less one for its target, times its hidden state."""
        known, scale = self._ready()
        targets_N, pad_id = self.problem.targets_N - first, max(-1, self.problem.pad_id - first)
        write_rows(
            grad_WD,
            known._replace(rows=self.table_VD[first:last]),
            self.problem._replace(targets_N=targets_N, pad_id=pad_id),
            scale,
            position_weight=1.0,
            add=True,
        )

    def _ready(self) -> tuple[Known, Tensor]:
        assert self.known is not None, "the loss has not run, or its rows are handed out"
        assert self.scale is not None, "the backward pass of the loss has not run"
        return self.known, self.scale
