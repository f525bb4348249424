"""Compute losses over sampled negatives and their gradients, tile by tile."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from scalelab.core.errors import SpecError
from scalelab.losses import LossBatch, Negatives, target_of
from scalelab.losses._proposal import Proposal
from scalelab.losses._rows import Rows, through_unit_rows
from scalelab.losses._sources import OwnNegatives, RowSums, SharedNegatives, WholeTable
from scalelab.losses._tiles import (
    accumulate_dtype_of,
    compute_dtype_of,
    loss_with_gradients,
    no_autocast,
    tile_numbers,
    tile_ranges,
)
from scalelab.losses.streaming.table_gradient import RowGradient, TableGradient, streamed_loss
from scalelab.losses.streaming.touched_rows import TouchedRows

__all__ = ["Objective", "SampledLoss", "ScoreGradients", "check_batch"]

# Gathered rows and scores of one tile: 4 MiB of float32, which stays in a CPU's caches.
_TILE_FLOATS = 2**20


class ScoreGradients(NamedTuple):
    """Losses of T positions and their gradients by the scores of target and negatives."""

    loss: Tensor
    target: Tensor
    negatives: Tensor


# (target_T, negative_TK) -> ScoreGradients. A score of -inf is not a negative:
# its gradient must be 0. The function owns both scores and may overwrite them.
Objective = Callable[[Tensor, Tensor], ScoreGradients]


class SampledLoss:
    """A loss over target and negatives, given by the `objective` on their scores.

    Empty places, and with `remove_accidental_hits` negatives that equal the target, get the score
    -inf. `logq` times the log-probability of being drawn is taken off the scores (see `Proposal`).
    Only the `top_k` highest negatives are kept. With `cosine` all vectors count with length 1.
    """

    remove_accidental_hits: bool
    # Not annotated: these are options of the losses alone that have fields of these names.
    logq = 0.0
    logq_of = "source"
    logq_target = True
    top_k = None
    temperature = 1.0
    cosine = False

    def objective(self, batch: LossBatch) -> Objective:
        """Losses and gradients from the scores of target and negatives."""
        raise TypeError(f"{type(self).__name__} has no objective")

    def __call__(self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch) -> Tensor:
        """Mean over the N positions. Raises SpecError where the batch lacks what is needed."""
        check_batch(batch, self.logq, self.top_k)
        hidden_ND = self.scaled(hidden_ND)
        compute_dtype = compute_dtype_of(hidden_ND)

        def compute(
            hidden_ND: Tensor, item_table_VD: Tensor, hidden_wanted: bool, table_wanted: bool
        ) -> tuple[Tensor, Tensor | None, Tensor | None]:
            sums = WholeTable(item_table_VD) if table_wanted else None
            with no_autocast(hidden_ND):
                rows = self._rows(item_table_VD, compute_dtype)
                work = _Work(hidden_ND, rows, batch, hidden_wanted=hidden_wanted, table_sums=sums)
                total, grad_hidden_ND = work.run(self, self.objective(batch))
                if self.cosine and sums is not None:
                    through_unit_rows(sums.grad_VD, item_table_VD)
            return total, grad_hidden_ND, None if sums is None else sums.grad_VD

        return loss_with_gradients(compute, hidden_ND, item_table_VD, positions=hidden_ND.shape[0])

    def streamed(
        self, hidden_ND: Tensor, item_table_VD: Tensor, batch: LossBatch
    ) -> tuple[Tensor, TableGradient]:
        """The same mean, and the gradient of the rows of targets and negatives."""
        check_batch(batch, self.logq, self.top_k)
        hidden_ND = self.scaled(hidden_ND)
        compute_dtype = compute_dtype_of(hidden_ND)
        table_VD = item_table_VD.detach()
        ids = [batch.targets_N, *(source.ids for source in batch.negatives)]
        gradient = _SampledRows(TouchedRows(ids, table_VD))

        def compute(hidden_ND: Tensor, hidden_wanted: bool) -> tuple[Tensor, Tensor | None]:
            with no_autocast(hidden_ND):
                rows = self._rows(table_VD, compute_dtype)
                touched = gradient.touched
                work = _Work(
                    hidden_ND, rows, batch, hidden_wanted=hidden_wanted, table_sums=touched
                )
                found = work.run(self, self.objective(batch))
                if self.cosine:
                    through_unit_rows(touched.grad_CD, table_VD, touched.ids_C)
                return found

        positions = hidden_ND.shape[0]
        return streamed_loss(compute, hidden_ND, gradient, positions=positions), gradient

    def scaled(self, hidden_ND: Tensor) -> Tensor:
        """The hidden states whose inner products with rows are the scores."""
        if self.cosine:
            hidden_ND = functional.normalize(hidden_ND, dim=1)
        return hidden_ND if self.temperature == 1 else hidden_ND / self.temperature

    def _rows(self, item_table_VD: Tensor, compute_dtype: torch.dtype) -> Rows:
        return Rows(item_table_VD, compute_dtype, self.cosine)


class _SampledRows(TableGradient):
    def __init__(self, touched: TouchedRows) -> None:
        self.touched = touched

    def single_rows(self) -> list[RowGradient]:
        assert self.scale is not None, "the backward pass of the loss has not run"
        return [RowGradient(self.touched.ids_C, self.touched.grad_CD.mul_(self.scale))]


def check_batch(batch: LossBatch, logq: float, top_k: int | None) -> None:
    """Raises SpecError where the batch lacks what is needed."""
    if not batch.negatives:
        raise SpecError("the loss needs negatives and the run has none", "add [[negatives]]")
    if logq and batch.log_popularity_V is None:
        raise SpecError("logq needs the popularity of the items", "give the batch log_popularity_V")
    num_negatives = sum(source.ids.shape[-1] for source in batch.negatives)
    if top_k is not None and top_k > num_negatives:
        raise SpecError(
            f"top_k = {top_k}, but a position has {num_negatives} negatives",
            f"lower top_k to {num_negatives} or less, or draw more",
        )


class _Work:
    """The sums of one call: losses, and the gradients that are wanted."""

    def __init__(
        self,
        hidden_ND: Tensor,
        rows: Rows,
        batch: LossBatch,
        *,
        hidden_wanted: bool,
        table_sums: RowSums | None,
    ) -> None:
        self.hidden_ND, self.rows, self.batch = hidden_ND, rows, batch
        self.compute_dtype = rows.compute_dtype
        self.accumulate_dtype = accumulate_dtype_of(hidden_ND)
        self.grad_hidden_ND = torch.empty_like(hidden_ND) if hidden_wanted else None
        self.table_sums = table_sums
        self.total = hidden_ND.new_zeros((), dtype=self.accumulate_dtype)
        self.shared = [
            SharedNegatives(source.ids.long(), rows) if source.per == "batch" else None
            for source in batch.negatives
        ]
        floats, depth = 0, hidden_ND.shape[1]
        on_gpu = target_of(hidden_ND).kind == "cuda"
        for source in batch.negatives:
            # A GPU's tile holds all: the scores of objectives that keep many versions of them, a
            # row in two types, and ids that are sorted to add rows up.
            score, own = (12, 3 * depth // 2 + 24) if on_gpu else (4, depth + 4)
            floats += source.ids.shape[-1] * (score if source.per == "batch" else own)
        numbers = tile_numbers(hidden_ND, _TILE_FLOATS, 4)
        self.tile = max(1, min(hidden_ND.shape[0], numbers // max(1, floats)))

    def run(self, loss: SampledLoss, objective: Objective) -> tuple[Tensor, Tensor | None]:
        """Sum of the losses and of the gradients of the hidden states over positions."""
        self.proposal = Proposal(
            batch=self.batch, strength=loss.logq, of=loss.logq_of, target=loss.logq_target
        )
        for start, stop in tile_ranges(self.hidden_ND.shape[0], self.tile, self.hidden_ND):
            self._add(start, stop, loss, objective)
        if self.table_sums is not None:
            for shared in self.shared:
                if shared is not None and shared.grad_KD is not None:
                    self.table_sums.add(shared.ids, shared.grad_KD)
        return self.total, self.grad_hidden_ND

    def _add(self, start: int, stop: int, loss: SampledLoss, objective: Objective) -> None:
        """Take in the positions `start:stop`."""
        top_k = loss.top_k
        hidden_TD = self.hidden_ND[start:stop].to(self.compute_dtype)
        targets_T = self.batch.targets_N[start:stop].long()
        rows_TD = self.rows.of(targets_T)
        target_T = (hidden_TD.to(self.accumulate_dtype) * rows_TD.to(self.accumulate_dtype)).sum(1)
        off_T = self.proposal.of_targets(targets_T)
        if off_T is not None:
            target_T -= off_T
        del off_T
        found = [
            self._own(source, start, stop) if shared is None else shared
            for source, shared in zip(self.batch.negatives, self.shared, strict=True)
        ]
        scores = [
            self._scores(
                each,
                number,
                hidden_TD,
                targets_T,
                remove_accidental_hits=loss.remove_accidental_hits,
            )
            for number, each in enumerate(found)
        ]
        negative_TK = scores[0] if len(scores) == 1 else torch.cat(scores, 1)
        del scores
        if top_k is not None:
            negative_TK, places_TK = negative_TK.topk(top_k, 1, sorted=False)
            ids = [each.ids.expand(stop - start, -1) for each in found]
            chosen_TK = (ids[0] if len(ids) == 1 else torch.cat(ids, 1)).gather(1, places_TK)
            found = [OwnNegatives(chosen_TK, self.rows)]
            del ids, places_TK
        score_gradients = objective(target_T, negative_TK)
        self.total += score_gradients.loss.sum()
        score_grad_TK, score_grad_T1 = (
            score_gradients.negatives.to(self.compute_dtype),
            score_gradients.target.unsqueeze(1),
        )
        widths = [each.ids.shape[-1] for each in found]
        if self.grad_hidden_ND is not None:
            grad_TD = score_grad_T1 * rows_TD
            for each, score_grad_TW in zip(found, score_grad_TK.split(widths, 1), strict=True):
                grad_TD += each.to_hidden(score_grad_TW)
            self.grad_hidden_ND[start:stop] = grad_TD
        if self.table_sums is not None:
            self.table_sums.add(targets_T, score_grad_T1 * hidden_TD)
            for each, score_grad_TW in zip(found, score_grad_TK.split(widths, 1), strict=True):
                each.to_table(score_grad_TW, hidden_TD, self.table_sums)

    def _own(self, source: Negatives, start: int, stop: int) -> OwnNegatives:
        if source.per == "position":
            return OwnNegatives(source.ids[start:stop].long(), self.rows)
        assert self.batch.sequence_N is not None
        sequence_T = self.batch.sequence_N[start:stop]
        ids_TK = source.ids.index_select(0, sequence_T).long()
        return OwnNegatives(ids_TK, self.rows)

    def _scores(
        self,
        found: OwnNegatives | SharedNegatives,
        source: int,
        hidden_TD: Tensor,
        targets_T: Tensor,
        *,
        remove_accidental_hits: bool,
    ) -> Tensor:
        score_TK = found.scores(hidden_TD).to(self.accumulate_dtype)
        off = self.proposal.of_negatives(found.ids, source)
        if off is not None:
            score_TK -= off
        del off
        score_TK.masked_fill_(found.ids == self.batch.pad_id, -torch.inf)
        if remove_accidental_hits:
            score_TK.masked_fill_(found.ids == targets_T.unsqueeze(1), -torch.inf)
        return score_TK
