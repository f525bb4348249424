"""Compute full cross-entropy and its gradients in tiles of scores, in a buffer of fixed size."""

from typing import Literal

import torch
from torch import Tensor

from scalelab.losses._cross_entropy_tile import tile_of
from scalelab.losses._tiles import (
    accumulate_dtype_of,
    add_product,
    add_rows,
    target_scores,
    tile_ranges,
)

__all__ = ["TiledCrossEntropy"]


class TiledCrossEntropy:
    """One call: its operands, its buffer for scores, and the two ways through the table."""

    def __init__(
        self,
        *,
        hidden_ND: Tensor,
        item_table_VD: Tensor,
        targets_N: Tensor,
        pad_id: int | None,
        compute_dtype: torch.dtype,
        tile_mib: float | Literal["auto"],
    ) -> None:
        self.hidden_ND, self.item_table_VD = hidden_ND, item_table_VD
        self.targets_N, self.pad_id = targets_N, pad_id
        self.compute_dtype, self.accumulate_dtype = compute_dtype, accumulate_dtype_of(hidden_ND)
        tile = tile_of(
            tile_mib, hidden_ND=hidden_ND, table_VD=item_table_VD, compute_dtype=compute_dtype
        )
        self.keeps, self.rows, self.columns = tile.keeps, tile.rows, tile.columns
        self.buffer = torch.empty(tile.size, dtype=compute_dtype, device=hidden_ND.device)

    def run(
        self, hidden_wanted: bool, table_wanted: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Sum of the losses and of the gradients over positions."""
        if self.keeps and (hidden_wanted or table_wanted):
            return self._once(hidden_wanted, table_wanted)
        return self._twice(hidden_wanted, table_wanted)

    def _once(
        self, hidden_wanted: bool, table_wanted: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Compute loss and gradients from scores that are computed once and kept.

        T positions at a time meet the whole item table, one tile g of rows after the other. Each
        tile keeps the softmax within itself and its log-sum-exp:

            rows of the table     tile 0      tile 1      tile 2
            T positions         [ p_0     ] [ p_1     ] [ p_2     ]     p_g = softmax in tile g
                                  lse_0       lse_1       lse_2

            lse = log(exp(lse_0) + exp(lse_1) + exp(lse_2))
            softmax over the whole table, in tile g:  p_g * exp(lse_g - lse)

        `lse` is known only after the last tile, so the gradient of the hidden states is rescaled as
        it grows, and that of the table is added up in a second loop over the kept tiles.

        Example, one position with the scores 0, log 2 | log 5 and the target in the last column:
        p_0 = (1/3, 2/3) with lse_0 = log 3, p_1 = (1) with lse_1 = log 5, lse = log 8. The softmax
        is p_0 * 3/8 = (1/8, 2/8) and p_1 * 5/8 = 5/8; the loss is log 8 - log 5.
        """
        hidden_ND, table_VD = self.hidden_ND, self.item_table_VD
        num_tiles = -(-table_VD.shape[0] // self.columns)
        grad_hidden_ND = torch.empty_like(hidden_ND) if hidden_wanted else None
        grad_table_VD = torch.zeros_like(table_VD) if table_wanted else None
        lse_GT = hidden_ND.new_empty((num_tiles, self.rows), dtype=self.accumulate_dtype)
        total = hidden_ND.new_zeros((), dtype=self.accumulate_dtype)
        for start, stop in tile_ranges(hidden_ND.shape[0], self.rows, hidden_ND):
            total += self._add_positions(start, stop, lse_GT, grad_hidden_ND, grad_table_VD)
        return total, grad_hidden_ND, grad_table_VD

    def _add_positions(
        self,
        start: int,
        stop: int,
        lse_GT: Tensor,
        grad_hidden_ND: Tensor | None,
        grad_table_VD: Tensor | None,
    ) -> Tensor:
        """Sum of the losses of positions `start:stop`; adds their part to the gradients."""
        hidden_TD = self.hidden_ND[start:stop].to(self.compute_dtype)
        targets_T = self.targets_N[start:stop]
        wanted = grad_hidden_ND is not None
        lse_T, grad_TD = self._keep_softmaxes(hidden_TD, lse_GT, hidden_wanted=wanted)
        target_TD = self.item_table_VD.index_select(0, targets_T)
        loss = lse_T.sum() - target_scores(hidden_TD, target_TD, self.compute_dtype).sum()
        if grad_hidden_ND is not None:
            grad_hidden_ND[start:stop] = grad_TD.sub_(target_TD)
        if grad_table_VD is not None:
            self._add_kept(grad_table_VD, hidden_TD, lse_GT, lse_T)
            add_rows(grad_table_VD, targets_T, self.hidden_ND[start:stop].neg())
        return loss

    def _keep_softmaxes(
        self, hidden_TD: Tensor, lse_GT: Tensor, *, hidden_wanted: bool
    ) -> tuple[Tensor, Tensor]:
        """Fill the buffer with the softmax within each tile, and `lse_GT` with their log-sum-exps.

        Returns the log-sum-exp over all tiles, and the sum of the table's rows by their softmax.
        """
        size, depth = hidden_TD.shape
        lse_T = hidden_TD.new_full((size,), -torch.inf, dtype=self.accumulate_dtype)
        grad_TD = hidden_TD.new_zeros((size, depth), dtype=self.accumulate_dtype)
        for first, last in tile_ranges(self.item_table_VD.shape[0], self.columns, hidden_TD):
            rows_WD = self.item_table_VD[first:last].to(self.compute_dtype)
            softmax_TW = self._kept(size, first, last)
            tile_T = lse_GT[first // self.columns, :size]
            self._softmax(hidden_TD, rows_WD, first, softmax_TW, tile_T)
            both_T = torch.logaddexp(lse_T, tile_T)
            if hidden_wanted:
                grad_TD.mul_((lse_T - both_T).exp_().unsqueeze(1))
                scale_T1 = (tile_T - both_T).exp_().unsqueeze(1)
                grad_TD.addcmul_((softmax_TW @ rows_WD).to(self.accumulate_dtype), scale_T1)
            lse_T = both_T
        return lse_T, grad_TD

    def _add_kept(
        self, grad_table_VD: Tensor, hidden_TD: Tensor, lse_GT: Tensor, lse_T: Tensor
    ) -> None:
        """Add the kept softmaxes, scaled to the whole table, times the hidden states."""
        size = hidden_TD.shape[0]
        for first, last in tile_ranges(grad_table_VD.shape[0], self.columns, hidden_TD):
            scale_T1 = (lse_GT[first // self.columns, :size] - lse_T).exp_().unsqueeze(1)
            scaled_TD = (hidden_TD * scale_T1).to(self.compute_dtype)
            add_product(grad_table_VD[first:last], self._kept(size, first, last).T, scaled_TD)

    def _twice(
        self, hidden_wanted: bool, table_wanted: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Compute the scores once for the log-sum-exps and again for the gradients."""
        hidden_ND, table_VD = self.hidden_ND, self.item_table_VD
        lse_N = self._log_sums()
        loss = lse_N.sum()
        target_ND = table_VD.index_select(0, self.targets_N)
        loss -= target_scores(hidden_ND, target_ND, self.compute_dtype).sum()
        if not (hidden_wanted or table_wanted):
            return loss, None, None
        grad_hidden_ND = target_ND.to(self.accumulate_dtype).neg_() if hidden_wanted else None
        del target_ND
        grad_table_VD = torch.zeros_like(table_VD) if table_wanted else None
        self._add_again(grad_hidden_ND, grad_table_VD, lse_N)
        if grad_table_VD is not None:
            add_rows(grad_table_VD, self.targets_N, hidden_ND.neg())
        if grad_hidden_ND is not None:
            grad_hidden_ND = grad_hidden_ND.to(hidden_ND.dtype)
        return loss, grad_hidden_ND, grad_table_VD

    def _log_sums(self) -> Tensor:
        """The log-sum-exp of every position over the whole table."""
        hidden_ND, table_VD = self.hidden_ND, self.item_table_VD
        num_positions, num_rows = hidden_ND.shape[0], table_VD.shape[0]
        lse_N = hidden_ND.new_full((num_positions,), -torch.inf, dtype=self.accumulate_dtype)
        for first, last in tile_ranges(num_rows, self.columns, hidden_ND):
            rows_WD = table_VD[first:last].to(self.compute_dtype)
            for start, stop in tile_ranges(num_positions, self.rows, hidden_ND):
                hidden_TD = hidden_ND[start:stop].to(self.compute_dtype)
                score_TW = self._scores(hidden_TD, rows_WD, first)
                lse_T = lse_N[start:stop]
                top_T = torch.maximum(lse_T, score_TW.amax(1))
                seen_T = score_TW.sub_(top_T.unsqueeze(1)).exp_().sum(1)
                torch.add(seen_T.add_((lse_T - top_T).exp_()).log_(), top_T, out=lse_T)
                del score_TW  # of another type it is a copy, and the next one is made beside it
        return lse_N

    def _add_again(
        self, grad_hidden_ND: Tensor | None, grad_table_VD: Tensor | None, lse_N: Tensor
    ) -> None:
        """Compute the scores again and add their softmax's part to each gradient."""
        hidden_ND, table_VD = self.hidden_ND, self.item_table_VD
        num_positions, num_rows = hidden_ND.shape[0], table_VD.shape[0]
        for first, last in tile_ranges(num_rows, self.columns, hidden_ND):
            rows_WD = table_VD[first:last].to(self.compute_dtype)
            for start, stop in tile_ranges(num_positions, self.rows, hidden_ND):
                hidden_TD = hidden_ND[start:stop].to(self.compute_dtype)
                score_TW = self._scores(hidden_TD, rows_WD, first)
                softmax_TW = (
                    score_TW.sub_(lse_N[start:stop].unsqueeze(1)).exp_().to(self.compute_dtype)
                )
                if grad_hidden_ND is not None:
                    add_product(grad_hidden_ND[start:stop], softmax_TW, rows_WD)
                if grad_table_VD is not None:
                    add_product(grad_table_VD[first:last], softmax_TW.T, hidden_TD)
                del score_TW, softmax_TW

    def _kept(self, size: int, first: int, last: int) -> Tensor:
        """The part of the buffer that holds the tile of `size` positions and rows `first:last`."""
        return self.buffer[size * first : size * last].view(size, last - first)

    def _product(self, hidden_TD: Tensor, rows_WD: Tensor, first: int, out_TW: Tensor) -> None:
        torch.mm(hidden_TD, rows_WD.T, out=out_TW)
        if self.pad_id is not None and first <= self.pad_id < first + rows_WD.shape[0]:
            # Not -inf: a tile of the padding row alone must still have a softmax.
            out_TW[:, self.pad_id - first] = torch.finfo(self.compute_dtype).min

    def _scores(self, hidden_TD: Tensor, rows_WD: Tensor, first: int) -> Tensor:
        """Scores of a tile, in the buffer where their type allows."""
        score_TW = self._kept(hidden_TD.shape[0], 0, rows_WD.shape[0])
        self._product(hidden_TD, rows_WD, first, score_TW)
        return score_TW.to(self.accumulate_dtype)

    def _softmax(
        self, hidden_TD: Tensor, rows_WD: Tensor, first: int, softmax_TW: Tensor, lse_T: Tensor
    ) -> None:
        """Softmax within the tile, and its log-sum-exp: the largest softmax is exp(top - lse)."""
        self._product(hidden_TD, rows_WD, first, softmax_TW)
        wide_TW = softmax_TW.to(self.accumulate_dtype)
        top_T = wide_TW.amax(1)
        torch.softmax(wide_TW, 1, out=wide_TW)
        torch.sub(top_T, wide_TW.amax(1).log_(), out=lse_T)
        if wide_TW is not softmax_TW:
            softmax_TW.copy_(wide_TW)
