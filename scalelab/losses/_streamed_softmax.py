"""Compute exact cross-entropy and the gradient of the item table one tile of rows at a time.

The first walk over the table, in the forward pass, computes the log-sum-exp of every position and
the gradient of the hidden states, which is rescaled whenever a higher score comes. The second walk
is the optimizer's: for each tile the scores are computed again, and from them the tile's gradient.
"""

import torch
from torch import Tensor

from scalelab.losses import target_of
from scalelab.losses._softmax_tiles import product_into
from scalelab.losses._tiles import (
    accumulate_dtype_of,
    add_product,
    no_autocast,
    target_scores,
    tile_ranges,
)
from scalelab.losses.streaming.table_gradient import RowGradient, TableGradient

__all__ = ["StreamedSoftmax"]

# As in `cross_entropy`: what stays in the caches of a CPU core.
_ROWS, _COLUMNS = 512, 2048


class StreamedSoftmax(TableGradient):
    """One batch: hidden states, targets, and after `loss` the log-sum-exp of each position."""

    touches_all = True

    def __init__(
        self,
        hidden_ND: Tensor,
        item_table_VD: Tensor,
        targets_N: Tensor,
        *,
        pad_id: int | None,
        compute_dtype: torch.dtype,
        tile_bytes: int,
    ) -> None:
        self.hidden_ND, self.table_VD = hidden_ND.detach(), item_table_VD.detach()
        self.targets_N, self.pad_id, self.compute_dtype = targets_N, pad_id, compute_dtype
        self.accumulate_dtype = accumulate_dtype_of(hidden_ND)
        num_positions, num_rows = hidden_ND.shape[0], item_table_VD.shape[0]
        space = max(1, tile_bytes // 4)
        if target_of(hidden_ND).kind == "cpu":
            self.tile_positions = min(_ROWS, num_positions, space)
            self.tile_rows = max(1, min(_COLUMNS, num_rows, space // self.tile_positions))
        else:
            # Launches are dear on a GPU: tiles are as wide as they can be.
            self.tile_rows = max(1, min(num_rows, space // (2 * num_positions)))
            self.tile_positions = max(1, min(num_positions, space // (2 * self.tile_rows)))
        # Of each position the highest score, and the sum of exp(score - highest): apart they are
        # exacter than their log-sum-exp, whose digits before the point cost some behind it.
        self.top_N = self.sum_N = hidden_ND.new_empty(0)
        self.buffer: Tensor | None = None

    def loss(self, hidden_ND: Tensor, hidden_wanted: bool) -> tuple[Tensor, Tensor | None]:
        """The sum of the losses, and that of the gradients by `hidden_ND`."""
        with no_autocast(hidden_ND):
            return self._loss(hidden_wanted)

    def _loss(self, hidden_wanted: bool) -> tuple[Tensor, Tensor | None]:
        hidden_ND, table_VD = self.hidden_ND, self.table_VD
        (num_positions, _), num_rows = hidden_ND.shape, table_VD.shape[0]
        wide = self.accumulate_dtype
        top_N = hidden_ND.new_full((num_positions,), -torch.inf, dtype=wide)
        sum_N = torch.zeros_like(top_N)
        grad_ND = torch.zeros_like(hidden_ND, dtype=wide) if hidden_wanted else None
        buffer = self._buffer()
        for first, last in tile_ranges(num_rows, self.tile_rows, hidden_ND):
            rows_WD = table_VD[first:last].to(self.compute_dtype)
            for start, stop in tile_ranges(num_positions, self.tile_positions, hidden_ND):
                hidden_TD = hidden_ND[start:stop].to(self.compute_dtype)
                score_TW = _part(buffer, hidden_TD, rows_WD)
                product_into(score_TW, hidden_TD, rows_WD, self._pad_place(first))
                wide_TW = score_TW.to(wide)
                before_T, sum_T = top_N[start:stop], sum_N[start:stop]
                tile_T = wide_TW.amax(1)
                top_T = torch.maximum(before_T, tile_T)
                tile_T.sub_(top_T).exp_()
                before_T.sub_(top_T).exp_()
                sum_T.mul_(before_T)
                if grad_ND is not None:
                    grad_ND[start:stop].mul_(before_T.unsqueeze(1))
                before_T.copy_(top_T)
                del top_T
                # One fused operation where subtraction, exponential and sum are three. The largest
                # softmax is 1 / sum of exp(score - highest score of the tile).
                torch.softmax(wide_TW, 1, out=wide_TW)
                sum_T.add_(tile_T.div_(wide_TW.amax(1)))
                if grad_ND is not None:
                    share_TW = wide_TW.mul_(tile_T.unsqueeze(1)).to(self.compute_dtype)
                    add_product(grad_ND[start:stop], share_TW, rows_WD)
                    del share_TW
        self.top_N, self.sum_N = top_N, sum_N
        target_ND = table_VD.index_select(0, self.targets_N)
        total = sum_N.log().add_(top_N).sum()
        total -= target_scores(hidden_ND, target_ND, self.compute_dtype).sum()
        if grad_ND is None:
            return total, None
        return total, grad_ND.div_(sum_N.unsqueeze(1)).sub_(target_ND).to(hidden_ND.dtype)

    def single_rows(self) -> list[RowGradient]:
        """The gradients of the targets; from here on the hidden states carry the loss's scale."""
        assert self.scale is not None, "the backward pass of the loss has not run"
        # In the type of the hidden states, which may be that of autocast.
        scaled_ND = (self.hidden_ND * self.scale).to(self.accumulate_dtype)
        gradient = RowGradient(self.targets_N, scaled_ND.neg())
        self.scaled_ND = scaled_ND.div_(self.sum_N.unsqueeze(1))
        self.buffer = self._buffer()
        return [gradient]

    def add_tile(self, grad_WD: Tensor, first: int, last: int) -> None:
        """Add the softmax of each position times its hidden state."""
        assert self.buffer is not None
        with no_autocast(grad_WD):
            for begin, end in tile_ranges(last - first, self.tile_rows, grad_WD):
                rows_WD = self.table_VD[first + begin : first + end].to(self.compute_dtype)
                pad_place = self._pad_place(first + begin)
                for start, stop in tile_ranges(
                    self.hidden_ND.shape[0], self.tile_positions, grad_WD
                ):
                    hidden_TD = self.hidden_ND[start:stop].to(self.compute_dtype)
                    # Written by columns, so that the product below reads it by rows.
                    score_TW = _part(self.buffer, rows_WD, hidden_TD).T
                    product_into(score_TW, hidden_TD, rows_WD, pad_place)
                    wide_TW = score_TW.to(self.accumulate_dtype)
                    wide_TW.sub_(self.top_N[start:stop].unsqueeze(1)).exp_()
                    scaled_TD = self.scaled_ND[start:stop].to(self.compute_dtype)
                    share_TW = wide_TW.to(self.compute_dtype)
                    add_product(grad_WD[begin:end], share_TW.T, scaled_TD)

    def _buffer(self) -> Tensor:
        size = self.tile_positions * self.tile_rows
        return torch.empty(size, dtype=self.compute_dtype, device=self.hidden_ND.device)

    def _pad_place(self, first: int) -> int | None:
        return None if self.pad_id is None else self.pad_id - first


def _part(buffer: Tensor, left_TD: Tensor, right_WD: Tensor) -> Tensor:
    """The part of the buffer that holds the product of both."""
    rows, columns = left_TD.shape[0], right_WD.shape[0]
    return buffer[: rows * columns].view(rows, columns)
