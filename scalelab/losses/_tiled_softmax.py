"""Compute the sum of cross-entropy losses and its gradients, some scores at a time."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from scalelab.losses import target_of
from scalelab.losses._softmax_tiles import product_into, softmax_into
from scalelab.losses._tiles import (
    accumulate_dtype_of,
    add_product,
    add_rows,
    target_scores,
    tile_ranges,
)

__all__ = ["Tile", "TiledSoftmax", "tile_of"]

# A tile of 512 x 2048 float32 scores stays in the caches of a CPU core between its passes.
_ROWS, _COLUMNS = 512, 2048
# Fewer rows than this make thin products, dearer than forming the scores a second time (measured
# between 28 rows, where the two are equal, and 83, where keeping is a quarter faster).
_FEWEST_ROWS = 48


class Tile(NamedTuple):
    """How scores are cut: positions by rows of the item table.

    `keeps` says that the scores of `positions` with the whole table are kept; `size` is the number
    of scores in memory.
    """

    keeps: bool
    positions: int
    table_rows: int
    size: int


def tile_of(
    hidden_ND: Tensor, table_VD: Tensor, compute_dtype: torch.dtype, num_bytes: int
) -> Tile:
    """The tile that takes at most `num_bytes`, but at least one score."""
    (num_positions, depth), num_rows = hidden_ND.shape, table_VD.shape[0]
    enough = min(_FEWEST_ROWS, num_positions)
    if target_of(hidden_ND).kind == "cpu":
        space = max(1, num_bytes // compute_dtype.itemsize)
        positions = min(_ROWS, num_positions, max(1, space // num_rows))
        keeps = num_rows <= space and positions >= enough
        if not keeps:
            positions = min(_ROWS, num_positions, space)
        table_rows = max(1, min(num_rows, _COLUMNS, space // positions))
        return Tile(keeps, positions, table_rows, size=min(space, positions * num_rows))
    # Launches are dear on a GPU, so its tiles are as wide as they can be, and what is held beside
    # the scores, which are as wide, counts: a copy in float32, once more a copy of their own type
    # where they are not kept, and of the table's rows a copy and a product.
    other = compute_dtype != accumulate_dtype_of(hidden_ND)
    a_row = 2 * depth * compute_dtype.itemsize if other else 0
    a_score = compute_dtype.itemsize + (4 if other else 0)
    positions = min(num_positions, (num_bytes // num_rows - a_row) // a_score)
    if positions >= enough:
        return Tile(True, positions, num_rows, size=positions * num_rows)
    a_score += compute_dtype.itemsize if other else 0
    positions = max(1, min(num_positions, math.isqrt(num_bytes // a_score)))
    table_rows = max(1, min(num_rows, num_bytes // (positions * a_score + a_row)))
    return Tile(False, positions, table_rows, size=positions * table_rows)


class TiledSoftmax:
    """One call of the loss: its operands, its buffer for scores, and two ways through the table."""

    def __init__(
        self,
        hidden_ND: Tensor,
        table_VD: Tensor,
        targets_N: Tensor,
        *,
        pad_id: int | None,
        compute_dtype: torch.dtype,
        tile: Tile,
    ) -> None:
        self.hidden_ND, self.table_VD, self.targets_N = hidden_ND, table_VD, targets_N
        self.pad_id, self.tile = pad_id, tile
        self.compute_dtype, self.accumulate_dtype = compute_dtype, accumulate_dtype_of(hidden_ND)
        self.buffer = torch.empty(tile.size, dtype=compute_dtype, device=hidden_ND.device)

    def run(
        self, hidden_wanted: bool, table_wanted: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Sum of the losses and of the gradients over positions."""
        if self.tile.keeps and (hidden_wanted or table_wanted):
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
        hidden_ND, table_VD, tile = self.hidden_ND, self.table_VD, self.tile
        (num_positions, depth), num_rows = hidden_ND.shape, table_VD.shape[0]
        grad_hidden_ND = torch.empty_like(hidden_ND) if hidden_wanted else None
        grad_table_VD = torch.zeros_like(table_VD) if table_wanted else None
        num_tiles = -(-num_rows // tile.table_rows)
        lse_GT = hidden_ND.new_empty((num_tiles, tile.positions), dtype=self.accumulate_dtype)
        total = hidden_ND.new_zeros((), dtype=self.accumulate_dtype)
        for start, stop in tile_ranges(num_positions, tile.positions, hidden_ND):
            hidden_TD, size = hidden_ND[start:stop].to(self.compute_dtype), stop - start
            lse_T = lse_GT.new_full((size,), -torch.inf)
            # The mean of the table's rows so far, weighted by their softmax so far.
            mean_TD = lse_GT.new_zeros((size, depth))
            for first, last in tile_ranges(num_rows, tile.table_rows, hidden_ND):
                rows_WD = table_VD[first:last].to(self.compute_dtype)
                softmax_TW, tile_T = (
                    self._kept(size, first, last),
                    self._of_tile(lse_GT, first, size),
                )
                pad_place = self._pad_place(first)
                softmax_into(hidden_TD, rows_WD, pad_place, softmax_TW=softmax_TW, lse_T=tile_T)
                both_T = torch.logaddexp(lse_T, tile_T)
                if hidden_wanted:
                    mean_TD.mul_(_share(lse_T, both_T))
                    share_T1 = _share(tile_T, both_T)
                    mean_TD.addcmul_((softmax_TW @ rows_WD).to(mean_TD.dtype), share_T1)
                lse_T = both_T
            targets_T = self.targets_N[start:stop]
            target_TD = table_VD.index_select(0, targets_T)
            total += lse_T.sum() - target_scores(hidden_TD, target_TD, self.compute_dtype).sum()
            if grad_hidden_ND is not None:
                grad_hidden_ND[start:stop] = mean_TD.sub_(target_TD)
            if grad_table_VD is not None:
                for first, last in tile_ranges(num_rows, tile.table_rows, hidden_ND):
                    share_T1 = _share(self._of_tile(lse_GT, first, size), lse_T)
                    scaled_TD = (hidden_TD * share_T1).to(self.compute_dtype)
                    softmax_TW = self._kept(size, first, last)
                    add_product(grad_table_VD[first:last], softmax_TW.T, scaled_TD)
                add_rows(grad_table_VD, targets_T, hidden_ND[start:stop].neg())
        return total, grad_hidden_ND, grad_table_VD

    def _twice(
        self, hidden_wanted: bool, table_wanted: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Compute the scores once for their log-sum-exp, and once more for the gradients."""
        hidden_ND, table_VD = self.hidden_ND, self.table_VD
        num_positions, num_rows = hidden_ND.shape[0], table_VD.shape[0]
        lse_N = hidden_ND.new_full((num_positions,), -torch.inf, dtype=self.accumulate_dtype)
        for first, last in tile_ranges(num_rows, self.tile.table_rows, hidden_ND):
            rows_WD = table_VD[first:last].to(self.compute_dtype)
            for start, stop in tile_ranges(num_positions, self.tile.positions, hidden_ND):
                hidden_TD = hidden_ND[start:stop].to(self.compute_dtype)
                score_TW = self._scores(hidden_TD, rows_WD, first)
                lse_T = lse_N[start:stop]
                top_T = torch.maximum(lse_T, score_TW.amax(1))
                seen_T = score_TW.sub_(top_T.unsqueeze(1)).exp_().sum(1)
                torch.add(seen_T.add_((lse_T - top_T).exp_()).log_(), top_T, out=lse_T)
                del score_TW  # of another type it is a copy, and the next one is made beside it
        loss = lse_N.sum()
        target_ND = table_VD.index_select(0, self.targets_N)
        loss -= target_scores(hidden_ND, target_ND, self.compute_dtype).sum()
        if not (hidden_wanted or table_wanted):
            return loss, None, None
        grad_hidden_ND = None
        if hidden_wanted:
            grad_hidden_ND = target_ND.to(self.accumulate_dtype).neg_()
        del target_ND
        grad_table_VD = torch.zeros_like(table_VD) if table_wanted else None
        for first, last in tile_ranges(num_rows, self.tile.table_rows, hidden_ND):
            rows_WD = table_VD[first:last].to(self.compute_dtype)
            for start, stop in tile_ranges(num_positions, self.tile.positions, hidden_ND):
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
        if grad_table_VD is not None:
            add_rows(grad_table_VD, self.targets_N, hidden_ND.neg())
        if grad_hidden_ND is not None:
            grad_hidden_ND = grad_hidden_ND.to(hidden_ND.dtype)
        return loss, grad_hidden_ND, grad_table_VD

    def _kept(self, size: int, first: int, last: int) -> Tensor:
        """The part of the buffer that holds the tile of `size` positions and rows `first:last`."""
        return self.buffer[size * first : size * last].view(size, last - first)

    def _of_tile(self, lse_GT: Tensor, first: int, size: int) -> Tensor:
        """The log-sum-exps of `size` positions in the tile that begins at row `first`."""
        return lse_GT[first // self.tile.table_rows, :size]

    def _pad_place(self, first: int) -> int | None:
        return None if self.pad_id is None else self.pad_id - first

    def _scores(self, hidden_TD: Tensor, rows_WD: Tensor, first: int) -> Tensor:
        """Scores of a tile, in the buffer where their type allows."""
        score_TW = self._kept(hidden_TD.shape[0], 0, rows_WD.shape[0])
        product_into(score_TW, hidden_TD, rows_WD, self._pad_place(first))
        return score_TW.to(self.accumulate_dtype)


def _share(part_T: Tensor, whole_T: Tensor) -> Tensor:
    """What part of a sum of exponentials is, as a column, from the logarithms of both."""
    return (part_T - whole_T).exp_().unsqueeze(1)
