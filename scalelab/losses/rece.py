"""Compute reduced cross-entropy (RECE): softmax over items that random vectors place near."""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch
from scalelab.losses._rece import rounds
from scalelab.losses._rece_tiles import Visible, tile_bytes
from scalelab.losses._tiles import (
    accumulate_dtype_of,
    add_rows,
    compute_dtype_of,
    loss_with_gradients,
    no_autocast,
    target_scores,
)

__all__ = ["RECE"]


@dataclass(frozen=True, kw_only=True)
class RECE:
    """Cross-entropy over target and visible items (Gusak et al., CIKM '24, Algorithm 1).

    In each of `rounds` rounds positions and items are stably sorted by the index of their nearest
    of `n_buckets` random vectors and cut into `n_chunks` equal chunks. An item is visible to a
    position if in any round their chunk numbers differ by at most `n_extra_chunks`, with no
    wrap-around; it counts once. The padding row is sorted and cut like any other but is never a
    negative.

    Memory is that of the gradients and a few tiles: nearest vectors are found in blocks, chunks are
    gathered as they are needed, and a pair that an earlier round has shown is skipped by comparing
    chunk numbers. One round takes one pass over its tiles; several rounds take two, the
    first for the log-sum-exp alone.

    `n_chunks` = "auto" is `n_buckets`. `n_buckets` = "paper" is sqrt(4 (1 + 2 n_extra_chunks)
    min(V, N)), which balances the memory of projections against that of logits. Neither is kept
    here, so "auto" balances time instead. With n buckets and chunks, D numbers a row, and w = 1 + 2
    n_extra_chunks, a round looks for nearest vectors in 2 D n (N + V) operations and takes 2 D p w
    N V / n for its visible pairs: p = 3 products (scores and two gradients), or 4 with several
    rounds, where scores are computed twice. The sum is least where both are equal:

        n_buckets = sqrt(p (1 + 2 n_extra_chunks) N V / (N + V))

    N V / (N + V) lies between half of min(N, V) and all of it. So both formulas agree within a
    factor of two, and "auto" makes fewer, larger chunks: more negatives in much the same time.

    `batch.given["buckets"]` (rounds, n_buckets, D) replaces the random vectors, which are else
    drawn from `batch.generator`.
    """

    rounds: Annotated[
        int,
        Field(ge=1, description="times that positions and items are sorted into chunks anew"),
    ] = 1
    n_extra_chunks: Annotated[
        int,
        Field(ge=0, description="chunks on either side that are visible too"),
    ] = 1
    n_buckets: Annotated[
        PositiveInt | Literal["auto", "paper"],
        Field(description="random vectors; auto balances time, paper memory"),
    ] = "auto"
    n_chunks: Annotated[
        PositiveInt | Literal["auto"],
        Field(description="chunks of positions and items; auto: n_buckets"),
    ] = "auto"

    needs_negatives: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")
        if self.n_extra_chunks < 0:
            raise ValueError(f"n_extra_chunks must be 0 or more, got {self.n_extra_chunks}")
        if isinstance(self.n_buckets, int) and self.n_buckets < 1:
            raise ValueError(f"n_buckets must be at least 1, auto or paper, got {self.n_buckets!r}")
        if isinstance(self.n_chunks, int) and self.n_chunks < 1:
            raise ValueError(f"n_chunks must be at least 1 or auto, got {self.n_chunks!r}")

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions. Raises SpecError for more chunks than items."""
        given = batch.given.get("buckets")
        n_buckets = self._num_buckets(hidden_ND.shape[0], item_table_VD.shape[0])
        shape = (self.rounds, n_buckets if given is None else given.shape[1], hidden_ND.shape[1])
        n_chunks = self._num_chunks(shape[1])
        if n_chunks > batch.num_items:
            raise SpecError(
                f"rece cannot cut {batch.num_items} items into {n_chunks} chunks",
                "lower n_chunks or n_buckets, or leave them to auto",
            )
        if given is not None and tuple(given.shape) != shape:
            raise SpecError(
                f"given buckets are {tuple(given.shape)}", f"rounds, buckets and width make {shape}"
            )
        compute_dtype = compute_dtype_of(hidden_ND)

        def compute(
            hidden_ND: Tensor, table_VD: Tensor, hidden_wanted: bool, table_wanted: bool
        ) -> tuple[Tensor, Tensor | None, Tensor | None]:
            with no_autocast(hidden_ND):
                vectors_RBD = _normal(shape, hidden_ND, batch) if given is None else given
                reach, pad_id = self.n_extra_chunks, batch.pad_id
                visible = Visible(
                    hidden_ND=hidden_ND,
                    table_VD=table_VD,
                    targets_N=batch.targets_N.to(torch.int32),
                    pad_id=pad_id,
                    rounds=rounds(
                        hidden_ND,
                        table_VD,
                        vectors_RBD,
                        num_chunks=n_chunks,
                        reach=reach,
                        pad_id=pad_id,
                    ),
                    compute_dtype=compute_dtype,
                )
                return _loss(visible, hidden_wanted, table_wanted)

        return loss_with_gradients(compute, hidden_ND, item_table_VD)

    def options_used(self, hidden_ND: Tensor, item_table_VD: Tensor) -> dict[str, int]:
        """The numbers that "auto" and "paper" stand for on such operands."""
        n_buckets = self._num_buckets(hidden_ND.shape[0], item_table_VD.shape[0])
        return {"n_buckets": n_buckets, "n_chunks": self._num_chunks(n_buckets)}

    def loss_bytes(
        self, positions: int, shared_negatives: int | None, item_table_VD: Tensor
    ) -> int:
        """About what it takes: rows of positions, of their targets and gradients, and tiles."""
        num_rows, depth = item_table_VD.shape
        n_chunks = self._num_chunks(self._num_buckets(positions, num_rows))
        reach = self.n_extra_chunks
        if reach >= n_chunks - 1:
            n_chunks, reach = 1, 0
        return 12 * depth * positions + tile_bytes(
            item_table_VD,
            high=-(-positions // n_chunks),
            wide=-(-num_rows // n_chunks),
            num_chunks=n_chunks,
            reach=reach,
        )

    def _num_chunks(self, n_buckets: int) -> int:
        return n_buckets if self.n_chunks == "auto" else self.n_chunks

    def _num_buckets(self, num_positions: int, num_rows: int) -> int:
        if isinstance(self.n_buckets, int):
            return self.n_buckets
        window = 1 + 2 * self.n_extra_chunks
        least = min(num_positions, num_rows)
        if self.n_buckets == "paper":
            best = math.sqrt(4 * window * least)
        else:
            products = 3 if self.rounds == 1 else 4
            together = num_positions * num_rows / (num_positions + num_rows)
            best = math.sqrt(products * window * together)
        # The formulas are meant for many positions; with few, no chunk need hold less than one.
        return max(1, min(round(best), least))


def _normal(shape: tuple[int, ...], like: Tensor, batch: LossBatch) -> Tensor:
    generator = batch.generator
    device = like.device if generator is None else generator.device
    vectors = torch.randn(
        shape, dtype=accumulate_dtype_of(like), device=device, generator=generator
    )
    return vectors.to(like.device)


def _loss(
    visible: Visible, hidden_wanted: bool, table_wanted: bool
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    hidden_ND, table_VD, targets_N = visible.hidden_ND, visible.table_VD, visible.targets_N
    rows_ND = table_VD.index_select(0, targets_N)
    score_N = target_scores(hidden_ND, rows_ND, visible.compute_dtype)
    # The target is there from the start; the filler's is infinite, so that its softmax is 0.
    lse_P = torch.cat([score_N, score_N.new_full((1,), torch.inf)])
    wanted = hidden_wanted or table_wanted
    if not (wanted and visible.one_look):
        visible.log_sum(lse_P)
    grad_ND = torch.zeros_like(hidden_ND, dtype=visible.accumulate_dtype) if hidden_wanted else None
    grad_VD = None
    if table_wanted:
        grad_VD = torch.empty_like(table_VD) if visible.whole else torch.zeros_like(table_VD)
    if wanted:
        visible.gradients(lse_P, grad_ND, grad_VD, known=not visible.one_look)
    loss_N = lse_P[:-1] - score_N
    factor_N1 = torch.expm1(-loss_N).div_(loss_N.numel()).unsqueeze(1)
    if grad_ND is not None:
        grad_ND = grad_ND.addcmul_(rows_ND.to(grad_ND.dtype), factor_N1).to(hidden_ND.dtype)
    if grad_VD is not None:
        add_rows(grad_VD, targets_N, hidden_ND * factor_N1)
    return loss_N.mean(), grad_ND, grad_VD
