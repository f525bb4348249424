"""Compute exact full cross-entropy without a logit matrix: fused kernels on a GPU, else tiles."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat
from torch import Tensor

from scalelab.losses import LossBatch, Target, target_of
from scalelab.losses._options import IncludePadding, Kernel
from scalelab.losses._streamed_softmax import StreamedSoftmax
from scalelab.losses._tiled_softmax import TiledSoftmax, tile_of
from scalelab.losses._tiles import compute_dtype_of, loss_with_gradients, no_autocast
from scalelab.losses.kernels.choice import fused_bytes_of, runs_fused
from scalelab.losses.kernels.fused import fused_loss
from scalelab.losses.kernels.scan import Problem
from scalelab.losses.kernels.streamed import FusedStream
from scalelab.losses.streaming.table_gradient import TableGradient, streamed_loss

__all__ = ["CrossEntropy"]


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

    def loss_bytes(
        self, positions: int, shared_negatives: int | None, item_table_VD: Tensor
    ) -> int | None:
        """About what the fused kernel takes, in whose sums fewer positions have more parts."""
        return fused_bytes_of(
            "cross_entropy",
            self.kernel,
            item_table_VD,
            num_positions=positions,
        )

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions of -log softmax(hidden @ table.T)[target]."""
        compute_dtype = compute_dtype_of(hidden_ND)
        pad_id = None if self.include_padding else batch.pad_id
        if runs_fused(
            "cross_entropy", self.kernel, hidden_ND, item_table_VD, compute_dtype=compute_dtype
        ):
            masked = -1 if pad_id is None else pad_id
            problem = Problem(batch.targets_N.long(), compute_dtype, masked)
            with no_autocast(hidden_ND):
                return fused_loss(hidden_ND, item_table_VD, problem)

        def compute(
            hidden_ND: Tensor, item_table_VD: Tensor, hidden_wanted: bool, table_wanted: bool
        ) -> tuple[Tensor, Tensor | None, Tensor | None]:
            num_bytes = _tile_bytes(self.tile_mib, target_of(hidden_ND))
            with no_autocast(hidden_ND):
                softmax = TiledSoftmax(
                    hidden_ND,
                    item_table_VD,
                    batch.targets_N.long(),
                    pad_id=pad_id,
                    compute_dtype=compute_dtype,
                    tile=tile_of(hidden_ND, item_table_VD, compute_dtype, num_bytes),
                )
                return softmax.run(hidden_wanted, table_wanted)

        return loss_with_gradients(compute, hidden_ND, item_table_VD, positions=hidden_ND.shape[0])

    def streamed(
        self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch
    ) -> tuple[Tensor, TableGradient]:
        """The same mean, in four matrix products, and the table's gradient, to be made by tiles."""
        compute_dtype, targets_N = compute_dtype_of(hidden_ND), batch.targets_N.long()
        pad_id = None if self.include_padding else batch.pad_id
        gradient: FusedStream | StreamedSoftmax
        if runs_fused(
            "cross_entropy",
            self.kernel,
            hidden_ND,
            item_table_VD,
            compute_dtype=compute_dtype,
            streamed=True,
        ):
            masked = -1 if pad_id is None else pad_id
            gradient = FusedStream(item_table_VD, Problem(targets_N, compute_dtype, masked))
        else:
            gradient = StreamedSoftmax(
                hidden_ND,
                item_table_VD,
                targets_N,
                pad_id=pad_id,
                compute_dtype=compute_dtype,
                tile_bytes=_tile_bytes(self.tile_mib, target_of(hidden_ND)),
            )
        positions = hidden_ND.shape[0]
        return streamed_loss(gradient.loss, hidden_ND, gradient, positions=positions), gradient


def _tile_bytes(tile_mib: float | Literal["auto"], target: Target) -> int:
    if tile_mib != "auto":
        return int(tile_mib * 2**20)
    return 32 * 2**20 if target.kind == "cpu" else target.tile_bytes
