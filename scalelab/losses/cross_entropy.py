"""Compute exact full cross-entropy without a logit matrix: fused kernels on a GPU, else tiles."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveFloat
from torch import Tensor

from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch, Target, target_of
from scalelab.losses._options import IncludePadding, Kernel
from scalelab.losses._softmax_tiles import product_into, softmax_into
from scalelab.losses._streamed_softmax import StreamedSoftmax
from scalelab.losses._tiles import (
    accumulate_dtype_of,
    add_product,
    add_rows,
    compute_dtype_of,
    loss_with_gradients,
    no_autocast,
    target_scores,
    tile_ranges,
)
from scalelab.losses.kernels.choice import fused_bytes_of, runs_fused
from scalelab.losses.kernels.fused import Problem, fused_loss
from scalelab.losses.streaming.table_gradient import TableGradient, streamed_loss

__all__ = ["CrossEntropy"]

# A tile of 512 x 2048 float32 scores stays in the caches of a CPU core between its passes.
_ROWS, _COLUMNS = 512, 2048
# Fewer rows make thin products, dearer than forming the scores a second time (equal at 28 rows; at
# 83 keeping is a quarter faster).
_FEWEST_ROWS = 48


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """The value and gradients of `dense_ce` in `tile_mib` MiB beyond the two gradients.

    `tile_mib` "auto" is 32 on a CPU and 1 to 2 % of a GPU's memory. The scores of as many positions
    as fit are kept for one pass over the table (three matrix products, as many as any exact method
    needs). Where only few fit, that is above some 170,000 items, the scores are computed twice:
    once for the log-sum-exp of every position, once for the gradients, which are written by tiles
    of the table. `include_padding` leaves the padding row in the softmax, as RECE's code does.

    `kernel` = "fused" takes the Triton kernels of `scalelab.losses.kernels` instead, which keep no
    scores at all (CUDA, compute capability 8.0, D up to 256); "auto": where they run and are right.
    """

    tile_mib: Annotated[
        PositiveFloat | Literal["auto"],
        Field(description="MiB of scores held at a time; auto: 32 on a CPU, 1 to 2 % of a GPU"),
    ] = "auto"
    include_padding: IncludePadding = False
    kernel: Kernel = "auto"

    needs_negatives: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.tile_mib != "auto" and self.tile_mib <= 0:
            raise ValueError(f"tile_mib must be positive, got {self.tile_mib}")

    def options_used(self, hidden_ND: Tensor, item_table_VD: Tensor) -> dict[str, float]:
        """The MiB that "auto" stands for on the device of the operands."""
        return {"tile_mib": _tile_bytes(self.tile_mib, target_of(hidden_ND)) / 2**20}

    def loss_bytes(self, positions: int, negatives: int, item_table_VD: Tensor) -> int | None:
        """About what the fused kernel takes, in whose sums fewer positions have more parts."""
        rows = len(item_table_VD)
        return fused_bytes_of("cross_entropy", self.kernel, positions, rows, item_table_VD)

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions of -log softmax(hidden @ table.T)[target]."""
        compute_dtype = compute_dtype_of(hidden_ND)
        if runs_fused("cross_entropy", self.kernel, hidden_ND, item_table_VD, compute_dtype):
            pad_id = -1 if self.include_padding else batch.pad_id
            problem = Problem(batch.targets_N.long(), compute_dtype, pad_id)
            with no_autocast(hidden_ND):
                return fused_loss(hidden_ND, item_table_VD, problem)

        def compute(
            hidden_ND: Tensor, item_table_VD: Tensor, hidden_wanted: bool, table_wanted: bool
        ) -> tuple[Tensor, Tensor | None, Tensor | None]:
            with no_autocast(hidden_ND):
                work = _Work(self, hidden_ND, item_table_VD, batch, compute_dtype)
                return work.run(hidden_wanted, table_wanted)

        return loss_with_gradients(compute, hidden_ND, item_table_VD, positions=hidden_ND.shape[0])

    def streamed(
        self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch
    ) -> tuple[Tensor, TableGradient]:
        """The same mean, in four matrix products, and the table's gradient, to be made by tiles."""
        if self.kernel == "fused":
            raise SpecError(
                "the fused kernel of cross_entropy makes the gradient of the whole item table",
                'write loss.kernel = "tiled", or train.table.update = "dense"',
            )
        gradient = StreamedSoftmax(
            hidden_ND,
            item_table_VD,
            batch.targets_N.long(),
            pad_id=None if self.include_padding else batch.pad_id,
            compute_dtype=compute_dtype_of(hidden_ND),
            tile_bytes=_tile_bytes(self.tile_mib, target_of(hidden_ND)),
        )
        positions = hidden_ND.shape[0]
        return streamed_loss(gradient.loss, hidden_ND, gradient, positions=positions), gradient


def _tile_bytes(tile_mib: float | Literal["auto"], target: Target) -> int:
    if tile_mib != "auto":
        return int(tile_mib * 2**20)
    return 32 * 2**20 if target.kind == "cpu" else target.tile_bytes


def _tile(
    tile_mib: float | Literal["auto"],
    hidden_ND: Tensor,
    table_VD: Tensor,
    compute_dtype: torch.dtype,
) -> tuple[bool, int, int, int]:
    """Whether scores are kept, the rows and columns of a tile, and the size of their buffer."""
    (num_positions, depth), num_rows = hidden_ND.shape, table_VD.shape[0]
    target = target_of(hidden_ND)
    num_bytes = _tile_bytes(tile_mib, target)
    enough = min(_FEWEST_ROWS, num_positions)
    if target.kind == "cpu":
        space = max(1, num_bytes // compute_dtype.itemsize)
        rows = min(_ROWS, num_positions, max(1, space // num_rows))
        keeps = num_rows <= space and rows >= enough
        if not keeps:
            rows = min(_ROWS, num_positions, space)
        columns = max(1, min(num_rows, _COLUMNS, space // rows))
        return keeps, rows, columns, min(space, rows * num_rows)
    # Launches are dear on a GPU, so its tiles are as wide as they can be, and what is held beside
    # the scores, which are as wide, counts: a copy in float32, once more a copy of their own type
    # where they are not kept, and of the table's rows a copy and a product.
    other = compute_dtype != accumulate_dtype_of(hidden_ND)
    a_row = 2 * depth * compute_dtype.itemsize if other else 0
    a_score = compute_dtype.itemsize + (4 if other else 0)
    rows = min(num_positions, (num_bytes // num_rows - a_row) // a_score)
    if rows >= enough:
        return True, rows, num_rows, rows * num_rows
    a_score += compute_dtype.itemsize if other else 0
    rows = max(1, min(num_positions, math.isqrt(num_bytes // a_score)))
    columns = max(1, min(num_rows, num_bytes // (rows * a_score + a_row)))
    return False, rows, columns, rows * columns


class _Work:
    """One call: its operands, its buffer for scores, and the two ways through the table."""

    def __init__(
        self,
        options: CrossEntropy,
        hidden_ND: Tensor,
        item_table_VD: Tensor,
        batch: LossBatch,
        compute_dtype: torch.dtype,
    ) -> None:
        self.hidden_ND, self.item_table_VD = hidden_ND, item_table_VD
        self.targets_N = batch.targets_N.long()
        self.pad_id = None if options.include_padding else batch.pad_id
        self.compute_dtype, self.accumulate_dtype = compute_dtype, accumulate_dtype_of(hidden_ND)
        tile = _tile(options.tile_mib, hidden_ND, item_table_VD, compute_dtype)
        self.keeps, self.rows, self.columns, size = tile
        self.buffer = torch.empty(size, dtype=compute_dtype, device=hidden_ND.device)

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
        hidden_ND, table_VD, columns = self.hidden_ND, self.item_table_VD, self.columns
        (num_positions, depth), num_rows = hidden_ND.shape, table_VD.shape[0]
        grad_hidden_ND = torch.empty_like(hidden_ND) if hidden_wanted else None
        grad_table_VD = torch.zeros_like(table_VD) if table_wanted else None
        # Shares within a tile, and the log-sum-exp of each position in each tile.
        lse_GT = hidden_ND.new_empty(
            (-(-num_rows // columns), self.rows), dtype=self.accumulate_dtype
        )
        total = hidden_ND.new_zeros((), dtype=self.accumulate_dtype)
        for start, stop in tile_ranges(num_positions, self.rows, hidden_ND):
            hidden_TD = hidden_ND[start:stop].to(self.compute_dtype)
            size = stop - start
            lse_T = hidden_ND.new_full((size,), -torch.inf, dtype=self.accumulate_dtype)
            grad_TD = hidden_ND.new_zeros((size, depth), dtype=self.accumulate_dtype)
            for first, last in tile_ranges(num_rows, columns, hidden_ND):
                rows_WD = table_VD[first:last].to(self.compute_dtype)
                softmax_TW = self._kept(size, first, last)
                tile_T = lse_GT[first // columns, :size]
                softmax_into(softmax_TW, tile_T, hidden_TD, rows_WD, self._pad_place(first))
                if hidden_wanted:
                    both_T = torch.logaddexp(lse_T, tile_T)
                    grad_TD.mul_((lse_T - both_T).exp_().unsqueeze(1))
                    scale_T1 = (tile_T - both_T).exp_().unsqueeze(1)
                    grad_TD.addcmul_((softmax_TW @ rows_WD).to(self.accumulate_dtype), scale_T1)
                    lse_T = both_T
                else:
                    lse_T = torch.logaddexp(lse_T, tile_T)
            targets_T = self.targets_N[start:stop]
            target_TD = table_VD.index_select(0, targets_T)
            total += lse_T.sum() - target_scores(hidden_TD, target_TD, self.compute_dtype).sum()
            if grad_hidden_ND is not None:
                grad_hidden_ND[start:stop] = grad_TD.sub_(target_TD)
            if grad_table_VD is not None:
                for first, last in tile_ranges(num_rows, columns, hidden_ND):
                    scale_T1 = (lse_GT[first // columns, :size] - lse_T).exp_().unsqueeze(1)
                    scaled_TD = (hidden_TD * scale_T1).to(self.compute_dtype)
                    softmax_TW = self._kept(size, first, last)
                    add_product(grad_table_VD[first:last], softmax_TW.T, scaled_TD)
                add_rows(grad_table_VD, targets_T, hidden_ND[start:stop].neg())
        return total, grad_hidden_ND, grad_table_VD

    def _twice(
        self, hidden_wanted: bool, table_wanted: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
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
        if grad_table_VD is not None:
            add_rows(grad_table_VD, self.targets_N, hidden_ND.neg())
        if grad_hidden_ND is not None:
            grad_hidden_ND = grad_hidden_ND.to(hidden_ND.dtype)
        return loss, grad_hidden_ND, grad_table_VD

    def _kept(self, size: int, first: int, last: int) -> Tensor:
        """The part of the buffer that holds the tile of `size` positions and rows `first:last`."""
        return self.buffer[size * first : size * last].view(size, last - first)

    def _pad_place(self, first: int) -> int | None:
        return None if self.pad_id is None else self.pad_id - first

    def _scores(self, hidden_TD: Tensor, rows_WD: Tensor, first: int) -> Tensor:
        """Scores of a tile, in the buffer where their type allows."""
        score_TW = self._kept(hidden_TD.shape[0], 0, rows_WD.shape[0])
        product_into(score_TW, hidden_TD, rows_WD, self._pad_place(first))
        return score_TW.to(self.accumulate_dtype)
