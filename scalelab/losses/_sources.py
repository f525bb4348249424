"""Score the negatives of one source, and add their gradients up, for a tile of positions."""

import torch
from torch import Tensor

from scalelab.losses._rows import Rows
from scalelab.losses._tiles import accumulate_dtype_of, add_product, add_rows
from scalelab.losses.streaming.touched_rows import TouchedRows

__all__ = ["OwnNegatives", "RowSums", "SharedNegatives", "WholeTable"]


class WholeTable:
    """Gradients of rows are added to one of the whole table."""

    def __init__(self, item_table_VD: Tensor) -> None:
        self.grad_VD = torch.zeros_like(item_table_VD)

    def add(self, ids_M: Tensor, rows_MD: Tensor) -> None:
        """Add `rows_MD` to the gradients of the rows `ids_M`."""
        add_rows(self.grad_VD, ids_M, rows_MD)


RowSums = WholeTable | TouchedRows


class SharedNegatives:
    """Negatives of the whole batch: one matrix product, nothing gathered per position."""

    def __init__(self, ids: Tensor, rows: Rows) -> None:
        self.ids = ids
        self.rows_KD = rows.of(ids)
        self.grad_KD: Tensor | None = None

    def scores(self, hidden_TD: Tensor) -> Tensor:
        """(T, K)."""
        return hidden_TD @ self.rows_KD.T

    def to_hidden(self, score_grad_TK: Tensor) -> Tensor:
        """The gradient of the hidden states, (T, D)."""
        return score_grad_TK @ self.rows_KD

    def to_table(self, score_grad_TK: Tensor, hidden_TD: Tensor, sums: RowSums) -> None:
        """Add the gradients of the rows to `sums`, or keep them for later."""
        if self.grad_KD is None:
            self.grad_KD = torch.zeros_like(self.rows_KD, dtype=accumulate_dtype_of(self.rows_KD))
        add_product(self.grad_KD, score_grad_TK.T, hidden_TD)


class OwnNegatives:
    """Negatives of each position of a tile, (T, K) ids: their rows are gathered."""

    def __init__(self, ids: Tensor, rows: Rows) -> None:
        self.ids = ids
        rows_MD = rows.of(ids.flatten())
        self.rows_TKD = rows_MD.view(*ids.shape, rows_MD.shape[1])

    def scores(self, hidden_TD: Tensor) -> Tensor:
        """(T, K)."""
        # With the hidden state on the right MKL takes eight times as long.
        return torch.bmm(hidden_TD.unsqueeze(1), self.rows_TKD.transpose(1, 2)).squeeze(1)

    def to_hidden(self, score_grad_TK: Tensor) -> Tensor:
        """The gradient of the hidden states, (T, D)."""
        return torch.bmm(score_grad_TK.unsqueeze(1), self.rows_TKD).squeeze(1)

    def to_table(self, score_grad_TK: Tensor, hidden_TD: Tensor, sums: RowSums) -> None:
        """Add the gradients of the rows to `sums`, or keep them for later."""
        # The rows are no longer needed: their memory takes the gradients.
        grad_TKD = torch.mul(score_grad_TK.unsqueeze(2), hidden_TD.unsqueeze(1), out=self.rows_TKD)
        sums.add(self.ids.flatten(), grad_TKD.flatten(0, 1))
