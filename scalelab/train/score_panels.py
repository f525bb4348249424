"""Compute the scores of all items for a block of users, into one buffer, some items at a time."""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from scalelab.core.errors import SpecError
from scalelab.losses import Scores, target_of
from scalelab.losses.streaming.tiles import accumulate_dtype_of, tile_ranges

__all__ = ["LANES", "ScorePanels"]

# Columns whose equal scores are counted in one byte.
LANES = 64
# Numbers of the rows that are turned into the type of the scores at once: 4 MiB.
_ROW_NUMBERS = 2**20


class ScorePanels:
    """Scores of `users` users and as many items as `numbers` scores have space for.

    Where all items have space there is one panel. `columns` is its width, in whole chunks of
    `chunk`; columns past the catalog, and the padding row, have the score -inf.
    """

    def __init__(self, table: Any, scores: Scores | None, *, users: int, numbers: int) -> None:
        self.table, self._scores = table, scores
        self.dtype, self.device = accumulate_dtype_of(table), table.device
        self.num_rows = table.shape[0]
        wanted = min(self.num_rows, max(1, numbers // users))
        self.chunk = max(1, math.isqrt(wanted))
        if target_of(table).kind == "cuda":
            self.chunk = -(-self.chunk // LANES) * LANES
        self.columns = -(-wanted // self.chunk) * self.chunk
        # Columns that are looked at together where a second block of all scores has no space.
        self.width = LANES * self.chunk
        # Behind several panels one number stays unused: see `take_out`.
        self._flat = torch.full(
            (users * self.columns + (not self.is_one),),
            -torch.inf,
            dtype=self.dtype,
            device=self.device,
        )
        self.buffer = self._flat[: users * self.columns].view(users, self.columns)

    @property
    def is_one(self) -> bool:
        """All items have space at once."""
        return self.columns >= self.num_rows

    def whole(self, hidden_SD: Tensor) -> Tensor:
        """The scores of all items; where `is_one`."""
        return self._filled(hidden_SD, 0, self.num_rows)

    def panels(self, hidden_SD: Tensor) -> Iterator[tuple[int, Tensor]]:
        """The first item and the scores of each panel, in the same memory."""
        for first, last in tile_ranges(self.num_rows, self.columns, hidden_SD):
            yield first, self._filled(hidden_SD, first, last)

    def take_out(self, rows: Tensor, items: Tensor, first: int) -> None:
        """Give the score -inf to those `items` of the users `rows` that are in this panel."""
        places = items - first
        inside = (places >= 0) & (places < self.columns)
        # What is in another panel is written where no score is.
        places.add_(rows * self.columns).masked_fill_(~inside, self._flat.shape[0] - 1)
        self._flat.index_fill_(0, places, -torch.inf)

    def _filled(self, hidden_SD: Tensor, first: int, last: int) -> Tensor:
        scores_SP = self.buffer[: len(hidden_SD)]
        size = last - first
        if self._scores is not None:
            step = self.width
        elif self.dtype == self.table.dtype and isinstance(self.table, Tensor):
            step = size
        else:
            step = max(1, _ROW_NUMBERS // self.table.shape[1])
        for start, stop in tile_ranges(size, step, hidden_SD):
            items_WD = self.table[first + start : first + stop].to(self.dtype)
            if self._scores is None:
                torch.mm(hidden_SD, items_WD.T, out=scores_SP[:, start:stop])
            else:
                scores_SP[:, start:stop] = self._by_loss(hidden_SD, items_WD)
        if first == 0:
            scores_SP[:, 0] = -torch.inf
        if not self.is_one:
            scores_SP[:, size:] = -torch.inf
        return scores_SP

    def _by_loss(self, hidden_SD: Tensor, items_WD: Tensor) -> Tensor:
        """(S, W) by the loss's own scores. Raises SpecError where they are not of that shape."""
        assert self._scores is not None, "without it the inner product counts"
        scores_SW = self._scores(hidden_SD, items_WD)
        if scores_SW.shape != (len(hidden_SD), len(items_WD)):
            raise SpecError(
                f"`scores` of the loss returned a tensor of shape {tuple(scores_SW.shape)} for "
                f"{len(hidden_SD)} hidden states and {len(items_WD)} items",
                "return one row per hidden state and one column per item",
            )
        return scores_SW
