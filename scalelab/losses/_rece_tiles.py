"""Compute the log-sum-exp over the items that chunks make visible, and its gradients, by tiles."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from scalelab.losses._rece import Rounds, earlier_rounds, round_numbers
from scalelab.losses._tiles import accumulate_dtype_of, tile_numbers, tile_ranges

__all__ = ["TileSizes", "Visible", "tile_bytes", "tile_sizes"]

# A tile of logits has about 2 MiB in float32, to stay in the cache: more only where one chunk of
# positions and the items that it sees have more. Item rows are gathered 8 MiB at a time; where one
# chunk sees more, up to twice that, beyond which a position meets its items in several tiles.
_TILE = 2**19
_GATHERED = 2**21
# On a GPU logits and item rows have half of the tile each. A logit has its score in bfloat16 and
# in float32, its softmax in bfloat16, two masks and a distance; a number of a row has the row as it
# is and in bfloat16, its gradient in float32 and in the item table's type. One chunk may take four
# tiles.
_BYTES_A_LOGIT, _BYTES_A_NUMBER = 2 * 12 * 4, 2 * 16 * 2


class _Window(NamedTuple):
    """Chunks `first` to `stop` of positions and the items that they see, (Y,) ids and (Y, D) rows.

    Neighbouring chunks see overlapping items: chunk g sees rows g * stride to g * stride + columns.
    """

    round: int
    first: int
    stop: int
    columns: int
    ids_Y: Tensor
    rows_YD: Tensor


class _Tile(NamedTuple):
    """G chunks, A positions of each, B items of each window; logit -inf where unseen."""

    position_ids: Tensor
    logits_GAB: Tensor
    hidden_GAD: Tensor


class TileSizes(NamedTuple):
    """Chunks of positions in a window, positions of each in a tile, items of each in a tile."""

    group: int
    height: int
    columns: int


def tile_sizes(like: Tensor, *, high: int, wide: int, num_chunks: int, reach: int) -> TileSizes:
    """How chunks of `high` positions and of `wide` items are tiled; `like` has the width of rows
    and the device.
    """
    depth, window = like.shape[1], (2 * reach + 1) * wide
    tile = tile_numbers(like, _TILE, _BYTES_A_LOGIT)
    gathered = tile_numbers(like, _GATHERED, _BYTES_A_NUMBER)
    columns = min(window, max(1, 2 * gathered // depth))
    if columns < window or high * window > 4 * tile:
        return TileSizes(1, max(1, min(high, tile // columns)), columns)
    space = gathered // (depth * wide) - 2 * reach
    return TileSizes(max(1, min(num_chunks, tile // (high * window), space)), high, columns)


def tile_bytes(like: Tensor, *, high: int, wide: int, num_chunks: int, reach: int) -> int:
    """About what a tile and its window take: 9 bytes a logit (score, masks, distance), and for each
    gathered item its row and its gradient in four bytes a number.
    """
    group, height, columns = tile_sizes(
        like, high=high, wide=wide, num_chunks=num_chunks, reach=reach
    )
    return 9 * group * height * columns + 8 * like.shape[1] * ((group - 1) * wide + columns)


@dataclass(kw_only=True)
class Visible:
    """All pairs of a position and an item that some round makes visible, each pair once.

    In a round, positions and items are sorted into C chunks. A position sees the items of its own
    chunk and of the `reach` chunks on both sides (x: visible, C = 5, reach = 1):

        chunk of items       0  1  2  3  4
        chunk of positions
                 0           x  x  .  .  .
                 1           x  x  x  .  .
                 2           .  x  x  x  .
                 3           .  .  x  x  x
                 4           .  .  .  x  x

        visible(n, v) = some round r has |chunk_r(n) - chunk_r(v)| <= reach
                        and v is neither the padding row nor the target of n

    A pair that several rounds make visible counts in the first of them. Example: two rounds put
    position 7 into chunks 2 and 4, and item 30 into chunks 3 and 0. Round 0 shows the pair, since
    |2 - 3| <= 1. Item 31 in chunks 0 and 3 is shown by round 1, since |2 - 0| > 1 but |4 - 3| <= 1.
    Item 32 in chunks 1 and 4 is shown by both, and counts in round 0.

    The work goes window by window (some neighbouring chunks of positions with all items that they
    see) and tile by tile within a window, so that no more than a tile of scores is kept.
    `targets_N` is int32.
    """

    hidden_ND: Tensor
    table_VD: Tensor
    targets_N: Tensor
    pad_id: int
    rounds: Rounds
    compute_dtype: torch.dtype

    def __post_init__(self) -> None:
        self.reach, self.positions, self.items = vars(self.rounds).values()
        self.accumulate_dtype = accumulate_dtype_of(self.hidden_ND)
        self.num_chunks, self.high = self.positions[0].slots_CM.shape
        self.wide, self.depth = self.items[0].size, self.hidden_ND.shape[1]
        self.width = 2 * self.reach + 1
        sizes = tile_sizes(
            self.hidden_ND,
            high=self.high,
            wide=self.wide,
            num_chunks=self.num_chunks,
            reach=self.reach,
        )
        self.group, self.height, self.columns = sizes
        self.whole = self.columns == self.width * self.wide
        largest = self.group * self.height * self.columns
        self.buffer = torch.empty(
            largest, dtype=self.accumulate_dtype, device=self.hidden_ND.device
        )

    @property
    def one_look(self) -> bool:
        """Whether a single tile holds all items that a position sees."""
        return self.whole and len(self.positions) == 1

    def log_sum(self, lse_P: Tensor) -> None:
        """Adds the scores of all visible items to the log-sum-exp `lse_P`, (N + 1,)."""
        for number in round_numbers(len(self.positions), self.hidden_ND):
            for window in self._windows(number):
                for tile in self._tiles(window):
                    _exponentials(tile, lse_P)

    def gradients(
        self, lse_P: Tensor, grad_ND: Tensor | None, grad_VD: Tensor | None, known: bool
    ) -> None:
        """Adds to the gradients given those of the mean of `lse_P` through visible scores.

        With `known` False, which needs `one_look`, `lse_P` is completed on the way as by `log_sum`.
        `grad_VD` may start uninitialised where `whole`: the first round writes each of its rows.
        """
        for number in round_numbers(len(self.positions), self.hidden_ND):
            carry = None
            for window in self._windows(number):
                grad_YD = None
                if grad_VD is not None:
                    grad_YD = torch.zeros_like(window.rows_YD, dtype=self.accumulate_dtype)
                    if carry is not None:
                        grad_YD[: carry.shape[0]] = carry
                for tile in self._tiles(window):
                    self._tile_gradients(
                        window, tile, lse_P, known=known, grad_ND=grad_ND, grad_YD=grad_YD
                    )
                if grad_VD is not None and grad_YD is not None:
                    carry = self._hand_over(window, grad_YD, grad_VD)
            if grad_VD is not None and carry is not None:
                slots = self.items[number].slots_CM.view(-1)
                tail = slots[slots.shape[0] - carry.shape[0] :]
                self._write(number, tail, carry, grad_VD)

    def _tile_gradients(
        self,
        window: _Window,
        tile: _Tile,
        lse_P: Tensor,
        *,
        known: bool,
        grad_ND: Tensor | None,
        grad_YD: Tensor | None,
    ) -> None:
        ids, num_positions = tile.position_ids, self.hidden_ND.shape[0]
        if known:
            lse = lse_P.index_select(0, ids.view(-1)).view(*ids.shape, 1)
            softmax_GAB = tile.logits_GAB.sub_(lse).exp_()
            factor_GA1 = torch.full_like(lse, 1 / num_positions)
        else:
            # Exponentials stay relative to the tile's largest score: the rest is a factor per row.
            softmax_GAB, factor_GA1 = _exponentials(tile, lse_P)
            factor_GA1 = factor_GA1 / num_positions
        softmax_GAB = softmax_GAB.to(self.compute_dtype)
        if grad_ND is not None:
            grad_GAD = torch.bmm(softmax_GAB, _strided(window, window.rows_YD, self.wide))
            grad_GAD = (grad_GAD * factor_GA1).to(grad_ND.dtype)
            # Fillers add zero to the last position.
            real = ids.clamp(max=num_positions - 1)
            grad_ND.index_add_(0, real.view(-1), grad_GAD.view(-1, self.depth))
        if grad_YD is None:
            return
        hidden_GAD = (tile.hidden_GAD * factor_GA1).to(self.compute_dtype)
        chunks = window.stop - window.first
        piece = self.wide if self.whole else window.columns
        pieces_JBD = grad_YD.view(-1, piece, self.depth)
        # Windows overlap, but the k-th pieces of all windows do not.
        for k in range(window.columns // piece):
            softmax_GBA = softmax_GAB[:, :, k * piece : (k + 1) * piece].transpose(1, 2)
            target_GBD = pieces_JBD[k : k + chunks]
            if self.compute_dtype == self.accumulate_dtype:
                target_GBD.baddbmm_(softmax_GBA, hidden_GAD)
            else:
                target_GBD += torch.bmm(softmax_GBA, hidden_GAD)

    def _hand_over(self, window: _Window, grad_YD: Tensor, grad_VD: Tensor) -> Tensor | None:
        """Writes the gradients that are complete; returns those that the next window adds to."""
        if not self.whole:
            grad_VD.index_add_(0, window.ids_Y, grad_YD.to(grad_VD.dtype))
            return None
        done = (window.stop - window.first) * self.wide
        self._write(window.round, window.ids_Y[:done], grad_YD[:done], grad_VD)
        return grad_YD[done:].clone()

    def _write(self, number: int, ids_Y: Tensor, grad_YD: Tensor, grad_VD: Tensor) -> None:
        # In a round every item has one place. Fillers share the padding row, with gradient zero.
        write = grad_VD.index_copy_ if number == 0 else grad_VD.index_add_
        write(0, ids_Y.long(), grad_YD.to(grad_VD.dtype))

    def _windows(self, number: int) -> Iterator[_Window]:
        slots = self.items[number].slots_CM.view(-1)
        for first, stop in tile_ranges(self.num_chunks, self.group, self.hidden_ND):
            start, more = first * self.wide, (stop - first - 1) * self.wide
            for left, right in tile_ranges(self.width * self.wide, self.columns, self.hidden_ND):
                ids_Y = slots[start + left : start + more + right]
                rows_YD = self.table_VD.index_select(0, ids_Y).to(self.compute_dtype)
                yield _Window(
                    round=number,
                    first=first,
                    stop=stop,
                    columns=right - left,
                    ids_Y=ids_Y,
                    rows_YD=rows_YD,
                )

    def _tiles(self, window: _Window) -> Iterator[_Tile]:
        slots_CM = self.positions[window.round].slots_CM[window.first : window.stop]
        for top, bottom in tile_ranges(self.high, self.height, self.hidden_ND):
            yield self._tile(window, slots_CM[:, top:bottom].contiguous())

    def _tile(self, window: _Window, ids_GA: Tensor) -> _Tile:
        real = ids_GA.clamp(max=self.hidden_ND.shape[0] - 1).view(-1)
        hidden_GAD = (
            self.hidden_ND.index_select(0, real).to(self.compute_dtype).view(*ids_GA.shape, -1)
        )
        rows_GDB = _strided(window, window.rows_YD, self.wide).transpose(1, 2)
        shape = (ids_GA.shape[0], ids_GA.shape[1], window.columns)
        logits_GAB = self.buffer[: shape[0] * shape[1] * shape[2]].view(shape)
        if self.compute_dtype == self.accumulate_dtype:
            torch.bmm(hidden_GAD, rows_GDB, out=logits_GAB)
        else:
            logits_GAB.copy_(torch.bmm(hidden_GAD, rows_GDB))
        return _Tile(
            ids_GA,
            logits_GAB.masked_fill_(self._unseen(window, real, shape), -torch.inf),
            hidden_GAD,
        )

    def _unseen(self, window: _Window, real: Tensor, shape: tuple[int, int, int]) -> Tensor:
        """(G, A, B) bool: the position's target, fillers, pairs that an earlier round has shown."""
        ids_G1B = _strided(window, window.ids_Y, self.wide).unsqueeze(1)
        targets_GA1 = self.targets_N.index_select(0, real).view(*shape[:2], 1)
        unseen_GAB = (ids_G1B == targets_GA1).logical_or_(ids_G1B == self.pad_id)
        for earlier in earlier_rounds(window.round, len(self.positions), self.hidden_ND):
            of_position = self.positions[earlier].chunk_M.index_select(0, real).view(*shape[:2], 1)
            of_item_Y = self.items[earlier].chunk_M.index_select(0, window.ids_Y)
            distance_GAB = of_position - _strided(window, of_item_Y, self.wide).unsqueeze(1)
            unseen_GAB.logical_or_(distance_GAB.abs_() <= self.reach)
        return unseen_GAB


def _strided(window: _Window, values_Y: Tensor, stride: int) -> Tensor:
    """(Y, ...) to (G, B, ...): what each chunk of the window sees, overlapping, not copied."""
    shape = (window.stop - window.first, window.columns, *values_Y.shape[1:])
    depth = values_Y.stride(0)
    return values_Y.as_strided(shape, (stride * depth, depth, *values_Y.stride()[1:]))


def _exponentials(tile: _Tile, lse_P: Tensor) -> tuple[Tensor, Tensor]:
    """Adds a tile to `lse_P`, in place; returns exp(logits - top) and exp(top - lse)."""
    ids = tile.position_ids.view(-1).long()
    # Where all is hidden the largest is -inf, and -inf - -inf would be NaN.
    top_GA1 = tile.logits_GAB.amax(2, keepdim=True).clamp_(min=torch.finfo(lse_P.dtype).min)
    exponentials_GAB = tile.logits_GAB.sub_(top_GA1).exp_()
    seen = exponentials_GAB.sum(2, keepdim=True).log_().add_(top_GA1).view(-1)
    lse = torch.logaddexp(lse_P.index_select(0, ids), seen)
    lse_P.index_copy_(0, ids, lse)
    return exponentials_GAB, (top_GA1 - lse.view_as(top_GA1)).exp_()
