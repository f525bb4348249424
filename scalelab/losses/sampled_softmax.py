"""Compute softmax cross-entropy over target and sampled negatives (CE- of RECE, TRON, GRU4Rec)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch
from scalelab.losses._options import Kernel, RemoveAccidentalHits
from scalelab.losses._sampled import Objective, SampledLoss, ScoreGradients, check_batch
from scalelab.losses._tiles import compute_dtype_of, no_autocast
from scalelab.losses.kernels.choice import refusal_of, runs_fused
from scalelab.losses.kernels.fused import Problem, Shared, fused_loss
from scalelab.losses.streaming.table_gradient import TableGradient

__all__ = ["SampledSoftmax"]


@dataclass(frozen=True, kw_only=True)
class SampledSoftmax(SampledLoss):
    """-log(exp(target) / (exp(target) + sum over negatives of exp(negative))).

    `top_k`: only the k highest-scored negatives count (TRON). `logq`: strength of the correction
    for how negatives are drawn; from each score is taken `logq * exponent * log(popularity)`, with
    the exponent of its source and, for the target, that of the first source (GRU4Rec: the in-batch
    one). `remove_accidental_hits` leaves out negatives that equal the target.

    `kernel` = "fused" takes the Triton kernels of `scalelab.losses.kernels`, which keep no scores:
    where all negatives are shared by the batch and `top_k` is not given; "auto" does where they run
    and agree with plain float64.
    """

    logq: Annotated[
        float,
        Field(description="strength of the correction for how negatives are drawn; 0: none"),
    ] = 0.0
    top_k: Annotated[
        PositiveInt | None,
        Field(description="only so many of the highest-scored negatives count; empty: all"),
    ] = None
    remove_accidental_hits: RemoveAccidentalHits = True
    kernel: Kernel = "auto"

    needs_negatives: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.logq < 0:
            raise ValueError(f"logq must not be negative, got {self.logq}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, got {self.top_k}")

    @property
    def needs_popularity(self) -> bool:
        """The correction does, and nothing else."""
        return self.logq > 0

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions. Raises SpecError where top_k is above the negatives given."""
        compute_dtype = compute_dtype_of(hidden_ND)
        if self._takes_fused(hidden_ND, item_table_VD, batch, compute_dtype):
            check_batch(batch, self.logq, self.top_k)
            shared = _shared(batch, self.logq, self.remove_accidental_hits)
            problem = Problem(batch.targets_N.long(), compute_dtype, batch.pad_id, shared)
            with no_autocast(hidden_ND):
                return fused_loss(hidden_ND, item_table_VD, problem)
        return super().__call__(hidden_ND, item_table_VD, batch)

    def streamed(
        self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch
    ) -> tuple[Tensor, TableGradient]:
        """The same mean, and the gradient of the rows of targets and negatives."""
        if self.kernel == "fused":
            raise SpecError(
                "the fused kernel of sampled_softmax makes the gradient of the whole item table",
                'write loss.kernel = "tiled", or train.table.update = "dense"',
            )
        return super().streamed(hidden_ND, item_table_VD, batch)

    def objective(self, batch: LossBatch) -> Objective:
        """How the scores of a position make its loss."""
        return _softmax

    def _takes_fused(
        self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch, compute_dtype: torch.dtype
    ) -> bool:
        same_for_all = all(source.per == "batch" for source in batch.negatives)
        if self.top_k is None and same_for_all and batch.negatives:
            name = "sampled_softmax"
            return runs_fused(
                name,
                self.kernel,
                hidden_ND,
                item_table_VD,
                compute_dtype=compute_dtype,
                shared=True,
            )
        if self.kernel == "fused":
            raise refusal_of(hidden_ND)(
                "the fused kernel of sampled_softmax needs negatives per batch and no top_k",
                'write kernel = "auto", or [negatives] per = "batch"',
            )
        return False


def _shared(batch: LossBatch, logq: float, skip_target: bool) -> Shared:
    """The sources as one list of negatives, with what logQ takes off their scores."""
    sources = batch.negatives
    ids_K = torch.cat([source.ids.int() for source in sources])
    bias_K = torch.zeros(len(ids_K), dtype=torch.float32, device=ids_K.device)
    target_bias_N = None
    if logq:
        assert batch.log_popularity_V is not None
        exponents = [source.exponent for source in sources]
        parts = bias_K.split([source.ids.shape[-1] for source in sources])
        for source, exponent, part_K in zip(sources, exponents, parts, strict=True):
            part_K -= logq * exponent * batch.log_popularity_V[source.ids.long()]
        target_bias_N = -logq * exponents[0] * batch.log_popularity_V[batch.targets_N.long()]
    bias_K.masked_fill_(ids_K == batch.pad_id, -torch.inf)
    return Shared(ids_K, bias_K, target_bias_N, skip_target)


def _softmax(target_T: Tensor, negative_TK: Tensor) -> ScoreGradients:
    total_T = torch.logaddexp(target_T, torch.logsumexp(negative_TK, 1))
    return ScoreGradients(
        total_T - target_T,
        torch.exp(target_T - total_T) - 1,
        negative_TK.sub_(total_T[:, None]).exp_(),
    )
