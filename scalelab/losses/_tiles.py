"""Split work into tiles, and return a loss together with the gradients that it has computed."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from scalelab.losses import LossBatch, before_tile, target_of, tile_repeats

__all__ = [
    "Compute",
    "accumulate_dtype_of",
    "add_product",
    "add_rows",
    "compute_dtype_of",
    "is_fake",
    "items_only",
    "loss_with_gradients",
    "no_autocast",
    "target_scores",
    "tile_numbers",
    "tile_ranges",
]

# (hidden_ND, item_table_VD, hidden wanted, table wanted) -> loss, its two gradients or None.
Compute = Callable[[Tensor, Tensor, bool, bool], tuple[Tensor, Tensor | None, Tensor | None]]


def loss_with_gradients(
    compute: Compute, hidden_ND: Tensor, item_table_VD: Tensor, *, positions: int = 1
) -> Tensor:
    """Return the loss of `compute`, which computes its gradients too: backward only scales them.

    Where `compute` returns sums, `positions` is their number: loss and gradients are divided by it,
    the latter at no cost.

    Each gradient is held once: the backward pass scales it in place, hands it over and keeps no
    reference, so that it becomes `.grad` itself and what else autograd sends there is added in
    place. For the same reason a second backward pass through one loss raises RuntimeError.
    """
    recording = torch.is_grad_enabled()
    wanted = (recording and hidden_ND.requires_grad, recording and item_table_VD.requires_grad)
    return _LossWithGradients.apply(hidden_ND, item_table_VD, compute, positions, *wanted)  # pyright: ignore


class _LossWithGradients(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden_ND: Tensor,
        item_table_VD: Tensor,
        compute: Compute,
        positions: int,
        hidden_wanted: bool,
        table_wanted: bool,
    ) -> Tensor:
        loss, *gradients = compute(hidden_ND, item_table_VD, hidden_wanted, table_wanted)
        ctx.gradients, ctx.positions = gradients, positions
        return loss / positions

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        if ctx.gradients is None:
            raise RuntimeError(
                "this loss hands its gradients out once: call the loss again for a second backward"
            )
        gradients, ctx.gradients = ctx.gradients, None
        scale = scale / ctx.positions
        for gradient in gradients:
            if gradient is not None:
                gradient.mul_(scale)
        return (*gradients, None, None, None, None)


def tile_ranges(total: int, size: int, like: Tensor) -> Iterator[tuple[int, int]]:
    """(start, stop) of each tile of `range(total)`; of fake tensors the first two and the last.

    All tiles but the last are of one size, and what the first leaves in local names is alive while
    the second is made: so the three have the peak and the final allocations of them all, and a step
    stays quick to predict at any catalog size. `tile_repeats` says how many the second stands for.
    """
    starts = range(0, total, size)
    if not is_fake(like) or len(starts) <= 3:
        announce = before_tile.get()
        for start in starts:
            if announce is not None:
                announce()
            yield start, min(start + size, total)
        return
    around = tile_repeats.get()
    try:
        for start, repeats in ((0, 1), (size, len(starts) - 2), (starts[-1], 1)):
            tile_repeats.set(around * repeats)
            yield start, min(start + size, total)
    finally:
        tile_repeats.set(around)


def is_fake(like: Tensor) -> bool:
    """Whether it has a shape and no data: then work that repeats itself need not be repeated."""
    return isinstance(like, torch._subclasses.FakeTensor)


def tile_numbers(like: Tensor, numbers: int, num_bytes: int) -> int:
    """How many numbers a tile may have: `numbers` on a CPU, whose caches it is made for.

    On a GPU as many as fill the target's tile, where one of them takes `num_bytes` in all
    temporaries together: a GPU has no such cache to keep to and pays for every launch.
    """
    target = target_of(like)
    return numbers if target.kind == "cpu" else max(1, target.tile_bytes // num_bytes)


def compute_dtype_of(tensor: Tensor) -> torch.dtype:
    """What matrix products are done in: autocast's type where it is on, else the tensor's own."""
    kind = tensor.device.type
    if torch.is_autocast_enabled(kind) and tensor.dtype != torch.float64:
        return torch.get_autocast_dtype(kind)
    return tensor.dtype


def accumulate_dtype_of(tensor: Tensor) -> torch.dtype:
    """What sums over tiles are kept in: float32 at least."""
    return torch.promote_types(tensor.dtype, torch.float32)


def no_autocast(tensor: Tensor) -> torch.autocast:
    """Autocast switched off on the tensor's device: casts below are spelled out."""
    return torch.autocast(tensor.device.type, enabled=False)


def add_product(sums: Tensor, left: Tensor, right: Tensor) -> None:
    """`sums += left @ right`, in one go where the types are the same."""
    if sums.dtype == left.dtype:
        sums.addmm_(left, right)
    else:
        sums.add_(left @ right)


def add_rows(sums_VD: Tensor, ids_M: Tensor, rows_MD: Tensor) -> None:
    """`sums[ids] += rows`, the same at every call: on CUDA `index_add_` would add in any order."""
    rows_MD = rows_MD.to(sums_VD.dtype)
    if target_of(sums_VD).kind == "cpu":
        sums_VD.index_add_(0, ids_M, rows_MD)
    else:
        sums_VD.index_put_((ids_M.long(),), rows_MD, accumulate=True)


def items_only(item_table_VD: Tensor, batch: LossBatch) -> tuple[Tensor, Tensor]:
    """A view of the table without its padding row, and the targets counted in it.

    Raises ValueError where the padding row is neither the first nor the last.
    """
    targets_N = batch.targets_N.long()
    if batch.pad_id == 0:
        return item_table_VD[1:], targets_N - 1
    if batch.pad_id == item_table_VD.shape[0] - 1:
        return item_table_VD[:-1], targets_N
    raise ValueError(f"pad_id {batch.pad_id} is neither the first nor the last row")


def target_scores(hidden_TD: Tensor, rows_TD: Tensor, dtype: torch.dtype) -> Tensor:
    """Score of each position's own row, rounded as a matrix product in `dtype` would round it."""
    accumulate_dtype = accumulate_dtype_of(hidden_TD)
    score_T = (
        hidden_TD.to(dtype).to(accumulate_dtype) * rows_TD.to(dtype).to(accumulate_dtype)
    ).sum(1)
    return score_T.to(dtype).to(accumulate_dtype)
