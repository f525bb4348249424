"""Compute the scores and the softmax of a tile: some positions by some rows of the item table."""

import torch
from torch import Tensor

from scalelab.losses._tiles import accumulate_dtype_of

__all__ = ["product_into", "softmax_into"]


def product_into(out_TW: Tensor, hidden_TD: Tensor, rows_WD: Tensor, pad_place: int | None) -> None:
    """Scores of a tile; those of the padding row, if it is at `pad_place`, are as low as can be."""
    torch.mm(hidden_TD, rows_WD.T, out=out_TW)
    if pad_place is not None and 0 <= pad_place < rows_WD.shape[0]:
        # Not -inf: a tile of the padding row alone must still have a softmax.
        out_TW[:, pad_place] = torch.finfo(out_TW.dtype).min


def softmax_into(
    hidden_TD: Tensor,
    rows_WD: Tensor,
    pad_place: int | None,
    *,
    softmax_TW: Tensor,
    lse_T: Tensor,
) -> None:
    """Softmax within the tile, and its log-sum-exp: the largest softmax is exp(top - lse)."""
    product_into(softmax_TW, hidden_TD, rows_WD, pad_place)
    wide_TW = softmax_TW.to(accumulate_dtype_of(softmax_TW))
    top_T = wide_TW.amax(1)
    torch.softmax(wide_TW, 1, out=wide_TW)
    torch.sub(top_T, wide_TW.amax(1).log_(), out=lse_T)
    if wide_TW is not softmax_TW:
        softmax_TW.copy_(wide_TW)
