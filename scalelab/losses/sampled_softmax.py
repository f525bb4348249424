"""Compute softmax cross-entropy over target and sampled negatives (CE- of RECE, TRON, GRU4Rec)."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from scalelab.losses import LossBatch, Scores
from scalelab.losses._options import Cosine, Kernel, RemoveAccidentalHits, Temperature, TopK
from scalelab.losses._proposal import Proposal
from scalelab.losses._sampled import Objective, SampledLoss, ScoreGradients, check_batch
from scalelab.losses._tiles import compute_dtype_of, no_autocast
from scalelab.losses.kernels.choice import fused_bytes_of, note_tiled, refusal_of, runs_fused
from scalelab.losses.kernels.fused import fused_loss
from scalelab.losses.kernels.scan import Problem, Shared
from scalelab.losses.kernels.streamed import FusedStream
from scalelab.losses.streaming.table_gradient import TableGradient, streamed_loss

__all__ = ["SampledSoftmax"]


@dataclass(frozen=True, kw_only=True)
class SampledSoftmax(SampledLoss):
    """-log(exp(target) / (exp(target) + sum over negatives of exp(negative))).

    `top_k`: only the k highest-scored negatives count (TRON). `logq`: strength of the correction
    for how negatives are drawn; from each score is taken `logq * exponent * log(popularity)`, with
    the exponent of its source and, for the target, that of the first source (GRU4Rec: the in-batch
    one). `logq_of` = "mixture" takes off the log of how often all sources together are expected to
    draw the item. With it and `logq_target` = false the sum over negatives is an unbiased estimate
    of that over all items but the target, which is always there and not drawn (Khrylchenko et al.,
    RecSys '25). `remove_accidental_hits` leaves out negatives that equal the target.

    `cosine` scores by the cosine of hidden state and item, in evaluation too; it wants a
    `temperature` far below 1, such as 0.05.

    `kernel` = "fused" takes the Triton kernels of `scalelab.losses.kernels`, which keep no scores:
    where all negatives are shared by the batch and neither `top_k` nor `cosine` is given; "auto"
    does where they run and agree with plain float64.
    """

    logq: Annotated[
        float,
        Field(description="strength of the correction for how negatives are drawn; 0: none"),
    ] = 0.0
    logq_of: Annotated[
        Literal["source", "mixture"],
        Field(description="draws that the correction is for: each source's own, or all together"),
    ] = "source"
    logq_target: Annotated[
        bool, Field(description="whether the target's score is corrected too")
    ] = True
    top_k: TopK = None
    temperature: Temperature = 1.0
    cosine: Cosine = False
    remove_accidental_hits: RemoveAccidentalHits = True
    kernel: Kernel = "auto"

    needs_negatives: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if self.logq < 0:
            raise ValueError(f"logq must not be negative, got {self.logq}")
        if not self.logq_target and self.logq_of != "mixture":
            raise ValueError('logq_target = false needs logq_of = "mixture", which is normalised')
        if self.logq_of == "mixture" and not self.logq:
            raise ValueError('logq_of = "mixture" corrects nothing with logq = 0; set logq = 1.0')
        if not self.temperature > 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")
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
            hidden_ND = self.scaled(hidden_ND)
            problem = self._problem(batch, compute_dtype)
            with no_autocast(hidden_ND):
                return fused_loss(hidden_ND, item_table_VD, problem)
        return super().__call__(hidden_ND, item_table_VD, batch)

    def loss_bytes(
        self, positions: int, shared_negatives: int | None, item_table_VD: Tensor
    ) -> int | None:
        """About what the fused kernel takes with negatives for the batch."""
        if self.top_k is not None or self.cosine or not shared_negatives:
            return None
        return fused_bytes_of(
            "sampled_softmax",
            self.kernel,
            item_table_VD,
            num_positions=positions,
            num_rows=shared_negatives,
            shared=True,
        )

    def streamed(
        self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch
    ) -> tuple[Tensor, TableGradient]:
        """The same mean, and the gradient of the rows of targets and negatives."""
        compute_dtype = compute_dtype_of(hidden_ND)
        if not self._takes_fused(hidden_ND, item_table_VD, batch, compute_dtype, streamed=True):
            return super().streamed(hidden_ND, item_table_VD, batch)
        check_batch(batch, self.logq, self.top_k)
        hidden_ND, positions = self.scaled(hidden_ND), hidden_ND.shape[0]
        problem = self._problem(batch, compute_dtype)
        gradient = FusedStream(item_table_VD, problem)
        return streamed_loss(gradient.loss, hidden_ND, gradient, positions=positions), gradient

    @property
    def scores(self) -> Scores | None:
        """How items are ranked: by the inner product (None), or by the cosine."""
        return _cosines if self.cosine else None

    def objective(self, batch: LossBatch) -> Objective:
        """How the scores of a position make its loss."""
        return _softmax

    def _takes_fused(
        self,
        hidden_ND: Tensor,
        item_table_VD: Tensor,
        batch: LossBatch,
        compute_dtype: torch.dtype,
        *,
        streamed: bool = False,
    ) -> bool:
        same_for_all = all(source.per == "batch" for source in batch.negatives)
        if self.top_k is None and not self.cosine and same_for_all and batch.negatives:
            name = "sampled_softmax"
            return runs_fused(
                name,
                self.kernel,
                hidden_ND,
                item_table_VD,
                compute_dtype=compute_dtype,
                shared=True,
                streamed=streamed,
            )
        if self.kernel == "fused":
            raise refusal_of(hidden_ND)(
                "the fused kernel of sampled_softmax needs negatives per batch, no top_k and no "
                "cosine",
                'write kernel = "auto", or [negatives] per = "batch"',
            )
        note_tiled("sampled_softmax", hidden_ND)
        return False

    def _problem(self, batch: LossBatch, compute_dtype: torch.dtype) -> Problem:
        targets_N = batch.targets_N.long()
        return Problem(targets_N, compute_dtype, batch.pad_id, self._shared(batch))

    def _shared(self, batch: LossBatch) -> Shared:
        """The sources as one list of negatives, with what logQ takes off their scores."""
        sources = batch.negatives
        proposal = Proposal(
            batch=batch, strength=self.logq, of=self.logq_of, target=self.logq_target
        )
        ids_K = torch.cat([source.ids.int() for source in sources])
        bias_K = torch.zeros(len(ids_K), dtype=torch.float32, device=ids_K.device)
        parts = bias_K.split([source.ids.shape[-1] for source in sources])
        for number, (source, part_K) in enumerate(zip(sources, parts, strict=True)):
            off_K = proposal.of_negatives(source.ids.long(), number)
            if off_K is not None:
                part_K -= off_K
        off_N = proposal.of_targets(batch.targets_N.long())
        bias_K.masked_fill_(ids_K == batch.pad_id, -torch.inf)
        skip_target = self.remove_accidental_hits
        return Shared(ids_K, bias_K, None if off_N is None else -off_N, skip_target)


def _cosines(hidden_SD: Tensor, items_WD: Tensor) -> Tensor:
    return functional.normalize(hidden_SD, dim=1) @ functional.normalize(items_WD, dim=1).T


def _softmax(target_T: Tensor, negative_TK: Tensor) -> ScoreGradients:
    total_T = torch.logaddexp(target_T, torch.logsumexp(negative_TK, 1))
    return ScoreGradients(
        total_T - target_T,
        torch.exp(target_T - total_T) - 1,
        negative_TK.sub_(total_T[:, None]).exp_(),
    )
