"""Update the codewords of an item table whose rows are made from them."""

from typing import Any

import torch
from torch import Tensor

from scalelab.losses.streaming.table_gradient import TableGradient
from scalelab.losses.streaming.tiles import add_rows, tile_ranges
from scalelab.losses.streaming.touched_rows import TouchedByTile, TouchedRows
from scalelab.models.tables import ComposedRows
from scalelab.train.optimizers.table import TableOptimizer

__all__ = ["ComposedOptimizer"]


class ComposedOptimizer(TableOptimizer):
    """The gradient of the rows is made tile by tile and added up by codeword.

    Codewords are few, so that their gradient is held as a whole; autograd adds that of lookups.
    """

    def __init__(self, rows: ComposedRows, **settings: Any) -> None:
        super().__init__(rows.codewords_CP, **settings)  # pyright: ignore[reportArgumentType]
        self._rows = rows

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Update all codewords."""
        grad_CP = self.table_VD.grad
        if grad_CP is None:
            grad_CP = torch.zeros_like(self.table_VD)
        touches_all, touched = self._gathered(self._rows, [])
        if touches_all:
            self._add_all(grad_CP, touches_all, touched)
        elif touched is not None:
            self._add_touched(grad_CP, touched)
        self._walk(self._rates(), [], None, grad_CP)

    def _add_all(
        self, grad_CP: Tensor, gradients: list[TableGradient], touched: TouchedRows | None
    ) -> None:
        (num_rows, depth), rows = self._rows.shape, self._rows
        width = self._tile_rows(num_rows, depth)
        tiles = None if touched is None else TouchedByTile(touched, width)
        for first, last in tile_ranges(num_rows, width, self.table_VD):
            grad_WD = torch.zeros((last - first, depth), device=rows.device, dtype=rows.dtype)
            for gradient in gradients:
                gradient.add_tile(grad_WD, first, last)
            if tiles is not None:
                tiles.add(grad_WD, first)
            self._add(grad_CP, rows.codes_VM[first:last], grad_WD)

    def _add_touched(self, grad_CP: Tensor, touched: TouchedRows) -> None:
        # Empty places stand for the padding row; their gradient is 0.
        ids_C, shape = touched.ids_C % touched.num_rows, self._rows.shape
        for start, stop in tile_ranges(ids_C.shape[0], self._tile_rows(*shape), self.table_VD):
            codes_WM = self._rows.codes_VM.index_select(0, ids_C[start:stop])
            self._add(grad_CP, codes_WM, touched.grad_CD[start:stop])

    def _add(self, grad_CP: Tensor, codes_WM: Tensor, grad_WD: Tensor) -> None:
        add_rows(grad_CP, self._rows.places(codes_WM), grad_WD.view(-1, grad_CP.shape[1]))
