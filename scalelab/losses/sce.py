"""Compute scalable cross-entropy (SCE): softmaxes within buckets of the highest products."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch
from scalelab.losses._tiles import (
    accumulate_dtype_of,
    add_rows,
    compute_dtype_of,
    loss_with_gradients,
    no_autocast,
    target_scores,
    tile_numbers,
    tile_ranges,
)

__all__ = ["SCE"]

# Numbers in a tile of logits and item rows, 4 MiB of float32 to stay in the cache; of scores on
# centres, 16 MiB: there every tile goes through the whole table, so few and large ones are better.
_TILE = 2**20
_SCORES = 2**22


class _Buckets(NamedTuple):
    """Ids of the positions (B, X) and items (B, Y) of each bucket."""

    positions: Tensor
    items: Tensor


class _Problem(NamedTuple):
    hidden_ND: Tensor
    table_VD: Tensor
    targets_N: Tensor
    buckets: _Buckets
    compute_dtype: torch.dtype


class _Tile(NamedTuple):
    """Buckets `start` to `stop` and their logits; a position's own target has -inf."""

    start: int
    stop: int
    hidden_GXD: Tensor
    rows_GYD: Tensor
    logits_GXY: Tensor


@dataclass(frozen=True, kw_only=True)
class SCE:
    """Cross-entropy within buckets (Mezentsev, Gusak, Oseledets & Frolov, RecSys '24).

    Every bucket has a random centre, the `bucket_size_x` positions and the `bucket_size_y` items
    with the largest inner products with it. A position's loss in a bucket is the cross-entropy of
    its target over target and the bucket's items; its loss is the largest over its buckets.
    Positions in no bucket are left out of the mean. With `mix_x` the centres are random mixtures of
    the hidden states, so that they lie where the positions are.

    `n_buckets` and `bucket_size_x` = "auto" are 2 sqrt(N), so that an average position has four
    buckets. More positions a bucket than there are (the last step of an epoch is a short one) are
    all of them.

    Scores on the centres and logits are computed bucket by bucket and not kept. Losses of all
    buckets come first, gradients in a second pass for the bucket that counts; equal ones share.

    `batch.given["random"]` replaces the random numbers: (n_buckets, D), or (N, n_buckets) with
    `mix_x`.
    """

    n_buckets: Annotated[
        PositiveInt | Literal["auto"], Field(description="random centres; auto: 2 sqrt(positions)")
    ] = "auto"
    bucket_size_x: Annotated[
        PositiveInt | Literal["auto"],
        Field(description="positions of a bucket; auto: 2 sqrt(positions)"),
    ] = "auto"
    bucket_size_y: Annotated[int, Field(ge=1, description="items of a bucket")] = 512
    mix_x: Annotated[
        bool, Field(description="whether centres are random mixtures of the hidden states")
    ] = False

    needs_negatives: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name in ("n_buckets", "bucket_size_x", "bucket_size_y"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the positions in a bucket. Raises SpecError for buckets above the catalog."""
        size, num_items = self.bucket_size_y, batch.num_items
        if size > num_items:
            raise SpecError(
                f"sce puts {size} items into a bucket and there are {num_items}",
                f"lower bucket_size_y to {num_items} or less",
            )
        compute_dtype = compute_dtype_of(hidden_ND)

        def compute(
            hidden_ND: Tensor, table_VD: Tensor, hidden_wanted: bool, table_wanted: bool
        ) -> tuple[Tensor, Tensor | None, Tensor | None]:
            with no_autocast(hidden_ND):
                problem = _Problem(
                    hidden_ND=hidden_ND,
                    table_VD=table_VD,
                    targets_N=batch.targets_N,
                    buckets=self._buckets(hidden_ND, table_VD, batch),
                    compute_dtype=compute_dtype,
                )
                return _loss(problem, hidden_wanted, table_wanted)

        return loss_with_gradients(compute, hidden_ND, item_table_VD)

    def options_used(self, hidden_ND: Tensor, item_table_VD: Tensor) -> dict[str, int]:
        """The numbers that "auto" stands for on such operands; no bucket holds more than all."""
        return self._options_at(hidden_ND.shape[0])

    def loss_bytes(
        self, positions: int, shared_negatives: int | None, item_table_VD: Tensor
    ) -> int:
        """About what it takes: positions, targets, gradients, and tiles of logits and item rows."""
        n_buckets, size = self._options_at(positions).values()
        depth = item_table_VD.shape[1]
        buckets = _buckets_a_tile(item_table_VD, n_buckets, size, self.bucket_size_y)
        return 12 * (depth * positions + buckets * self.bucket_size_y * (size + depth))

    def _options_at(self, num_positions: int) -> dict[str, int]:
        auto = max(1, round(2 * math.sqrt(num_positions)))
        size = auto if self.bucket_size_x == "auto" else self.bucket_size_x
        return {
            "n_buckets": auto if self.n_buckets == "auto" else self.n_buckets,
            "bucket_size_x": min(size, num_positions),
        }

    def _buckets(self, hidden_ND: Tensor, table_VD: Tensor, batch: LossBatch) -> _Buckets:
        num_positions, depth = hidden_ND.shape
        n_buckets, size = self._options_at(num_positions).values()
        shape = (num_positions, n_buckets) if self.mix_x else (n_buckets, depth)
        random = batch.given.get("random")
        if random is None:
            random = _normal(shape, hidden_ND, batch)
        if tuple(random.shape) != shape:
            raise SpecError(
                f"given random numbers are {tuple(random.shape)}", f"needed are {shape}"
            )
        accumulate_dtype = accumulate_dtype_of(hidden_ND)
        centres_BD = (
            random.T.to(accumulate_dtype) @ hidden_ND.to(accumulate_dtype)
            if self.mix_x
            else random.to(accumulate_dtype)
        )
        return _Buckets(
            _highest(centres_BD, hidden_ND, size, None),
            _highest(centres_BD, table_VD, self.bucket_size_y, batch.pad_id),
        )


def _normal(shape: tuple[int, int], like: Tensor, batch: LossBatch) -> Tensor:
    generator = batch.generator
    device = like.device if generator is None else generator.device
    dtype = accumulate_dtype_of(like)
    return torch.randn(shape, dtype=dtype, device=device, generator=generator).to(like.device)


def _highest(centres_BD: Tensor, rows_MD: Tensor, size: int, pad_id: int | None) -> Tensor:
    """(B, size) int32 ids of the rows with the largest inner products with each centre."""
    num_rows, num_centres = rows_MD.shape[0], centres_BD.shape[0]
    chosen = torch.empty(num_centres, size, dtype=torch.int32, device=rows_MD.device)
    # On a GPU half of the tile is left to what `topk` holds.
    block = max(1, min(num_centres, tile_numbers(rows_MD, _SCORES, 8) // num_rows))
    scores = torch.empty(block, num_rows, dtype=centres_BD.dtype, device=rows_MD.device)
    for start, stop in tile_ranges(num_centres, block, rows_MD):
        score = scores[: stop - start]
        # A table of bfloat16 is widened rather than the scores narrowed; usually nothing is copied.
        torch.mm(centres_BD[start:stop], rows_MD.to(centres_BD.dtype).T, out=score)
        if pad_id is not None:
            score[:, pad_id] = -torch.inf
        chosen[start:stop] = score.topk(size, dim=1, sorted=False).indices
    return chosen


def _loss(
    problem: _Problem, hidden_wanted: bool, table_wanted: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    hidden_ND, table_VD, targets_N, buckets, compute_dtype = problem
    accumulate_dtype = accumulate_dtype_of(hidden_ND)
    rows_ND = table_VD.index_select(0, targets_N)
    score_N = target_scores(hidden_ND, rows_ND, compute_dtype)
    flat = buckets.positions.view(-1).long()
    lse_BX = _log_sums(problem, score_N)
    loss_BX = lse_BX - _pick(score_N, buckets.positions)
    worst_N = torch.full_like(score_N, -torch.inf)
    worst_N.scatter_reduce_(0, flat, loss_BX.view(-1), "amax")
    counted_N = worst_N > -torch.inf
    worst_N = worst_N.where(counted_N, 0)
    loss = worst_N.sum() / counted_N.sum()
    if not (hidden_wanted or table_wanted):
        return loss, None, None

    # 1 / count in the bucket with a position's largest loss, else 0; equal ones share.
    weight_BX = (loss_BX == _pick(worst_N, buckets.positions)).to(accumulate_dtype)
    sharing_N = torch.zeros_like(score_N)
    add_rows(sharing_N, flat, weight_BX.view(-1))
    weight_BX = weight_BX / _pick(sharing_N, buckets.positions).mul_(counted_N.sum())
    grad_ND = torch.zeros_like(hidden_ND, dtype=accumulate_dtype) if hidden_wanted else None
    grad_VD = torch.zeros_like(table_VD) if table_wanted else None
    _gradients(problem, lse_BX, weight_BX, grad_ND=grad_ND, grad_VD=grad_VD)

    # Through the target itself: its softmax less one.
    factor_N1 = torch.expm1(-worst_N).div_(counted_N.sum()).unsqueeze(1)
    if grad_ND is not None:
        grad_ND = grad_ND.addcmul_(rows_ND.to(accumulate_dtype), factor_N1).to(hidden_ND.dtype)
    if grad_VD is not None:
        add_rows(grad_VD, targets_N, hidden_ND * factor_N1)
    return loss, grad_ND, grad_VD


def _log_sums(problem: _Problem, score_N: Tensor) -> Tensor:
    """(B, X) log-sum-exp over target and items of the bucket."""
    lse_BX = _pick(score_N, problem.buckets.positions)
    for tile in _tiles(problem):
        # Where the target is all there is the largest is -inf, and -inf - -inf would be NaN.
        top_GX1 = tile.logits_GXY.amax(2, keepdim=True).clamp_(min=torch.finfo(lse_BX.dtype).min)
        seen_GX = tile.logits_GXY.sub_(top_GX1).exp_().sum(2).log_().add_(top_GX1.squeeze(2))
        lse_GX = lse_BX[tile.start : tile.stop]
        lse_GX.copy_(torch.logaddexp(lse_GX, seen_GX))
    return lse_BX


def _gradients(
    problem: _Problem,
    lse_BX: Tensor,
    weight_BX: Tensor,
    *,
    grad_ND: Tensor | None,
    grad_VD: Tensor | None,
) -> None:
    """Adds to the gradients given what comes through scores of items of the buckets."""
    depth = problem.hidden_ND.shape[1]
    for tile in _tiles(problem):
        here = slice(tile.start, tile.stop)
        softmax_GXY = (
            tile.logits_GXY.sub_(lse_BX[here].unsqueeze(2)).exp_().to(problem.compute_dtype)
        )
        weight_GX1 = weight_BX[here].unsqueeze(2)
        if grad_ND is not None:
            grad_GXD = torch.bmm(softmax_GXY, tile.rows_GYD) * weight_GX1
            add_rows(grad_ND, problem.buckets.positions[here].reshape(-1), grad_GXD.view(-1, depth))
        if grad_VD is not None:
            weighted_GXD = (tile.hidden_GXD * weight_GX1).to(problem.compute_dtype)
            grad_GYD = torch.bmm(softmax_GXY.transpose(1, 2), weighted_GXD)
            add_rows(grad_VD, problem.buckets.items[here].reshape(-1), grad_GYD.view(-1, depth))


def _tiles(problem: _Problem) -> Iterator[_Tile]:
    hidden_ND, table_VD, targets_N, (positions, items), compute_dtype = problem
    targets_N = targets_N.to(torch.int32)
    num_buckets, size_x = positions.shape
    size_y = items.shape[1]
    step = _buckets_a_tile(hidden_ND, num_buckets, size_x, size_y)
    for start, stop in tile_ranges(num_buckets, step, hidden_ND):
        of_x, of_y = positions[start:stop], items[start:stop]
        hidden_GXD = _pick(hidden_ND, of_x).to(compute_dtype)
        rows_GYD = _pick(table_VD, of_y).to(compute_dtype)
        logits_GXY = torch.bmm(hidden_GXD, rows_GYD.mT).to(accumulate_dtype_of(hidden_ND))
        is_target = of_y.unsqueeze(1) == _pick(targets_N, of_x).unsqueeze(2)
        yield _Tile(
            start=start,
            stop=stop,
            hidden_GXD=hidden_GXD,
            rows_GYD=rows_GYD,
            logits_GXY=logits_GXY.masked_fill_(is_target, -torch.inf),
        )


def _buckets_a_tile(like: Tensor, num_buckets: int, size_x: int, size_y: int) -> int:
    """Buckets of a tile; `like` has the width of rows and the device."""
    depth, logits = like.shape[1], size_x * size_y
    # Item rows count as logits do: else a step with fewer positions would gather more of them.
    numbers = logits + size_y * depth
    # All that a bucket takes on a GPU: logits in two types and a mask; rows of both sides as they
    # are, in bfloat16, their gradients twice; the sorted ids of those that are added up.
    bucket_bytes = 9 * logits + (size_x + size_y) * (16 * depth + 64)
    in_tile = tile_numbers(like, _TILE, -(-bucket_bytes // numbers)) // numbers
    return max(1, min(num_buckets, in_tile))


def _pick(values: Tensor, ids: Tensor) -> Tensor:
    """Rows of `values` at `ids`, (G, X) to (G, X, ...)."""
    return values.index_select(0, ids.reshape(-1)).view(*ids.shape, *values.shape[1:])
