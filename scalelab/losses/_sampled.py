"""Losses over sampled negatives: ids and hidden states in, loss and gradients out, tile by tile."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from scalelab.losses import LossBatch, Negatives
from scalelab.losses._tiles import formed, inner_dtype, no_autocast, outer_dtype, spans

__all__ = ["Objective", "Slopes", "sampled_loss"]

# What the gathered rows of one tile may take.
_TILE_BYTES = 4 * 2**20


class Slopes(NamedTuple):
    """Losses of T positions with their derivatives by the scores, of target and of negatives."""

    loss: Tensor
    target: Tensor
    negatives: Tensor


# (target_T, negative_TK) -> Slopes. A score of -inf is no negative: its slope must be 0. It owns
# both scores and may write over them.
Objective = Callable[[Tensor, Tensor], Slopes]


def sampled_loss(
    objective: Objective,
    hidden_ND: Tensor,
    item_table_VD: Tensor,
    batch: LossBatch,
    *,
    mask_hits: bool,
    logq: float = 0.0,
    top_k: int | None = None,
) -> Tensor:
    """Mean over the N positions of `objective` on the scores of target and negatives.

    Empty places, and with `mask_hits` negatives that equal the target, get the score -inf. `logq`
    times the log-probability of being drawn is taken off all scores. Only the `top_k` highest
    negatives are kept. Raises ValueError where the batch lacks what is asked.
    """
    if not batch.negatives:
        raise ValueError("this loss needs negatives: give the run a source of them")
    if logq and batch.log_popularity_V is None:
        raise ValueError("logq needs the popularity of the items: log_popularity_V")
    num_negatives = sum(source.ids.shape[-1] for source in batch.negatives)
    if top_k is not None and top_k > num_negatives:
        raise ValueError(f"top_k = {top_k}, but there are {num_negatives} negatives a position")
    inner = inner_dtype(hidden_ND)

    def compute(
        hidden_ND: Tensor, item_table_VD: Tensor, hidden_wanted: bool, table_wanted: bool
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        with no_autocast(hidden_ND):
            work = _Work(hidden_ND, item_table_VD, batch, inner, hidden_wanted, table_wanted)
            for start, stop in spans(hidden_ND.shape[0], work.tile, hidden_ND):
                work.add(start, stop, objective, mask_hits, logq, top_k)
            return work.finish()

    return formed(compute, hidden_ND, item_table_VD)


class _Work:
    """The sums of one call: total loss and the gradients that are wanted."""

    def __init__(self, hidden_ND, item_table_VD, batch, inner, hidden_wanted, table_wanted) -> None:
        self.hidden_ND, self.item_table_VD, self.batch = hidden_ND, item_table_VD, batch
        self.inner, self.outer = inner, outer_dtype(hidden_ND)
        self.grad_hidden_ND = torch.empty_like(hidden_ND) if hidden_wanted else None
        self.grad_table_VD = torch.zeros_like(item_table_VD) if table_wanted else None
        self.total = torch.zeros((), dtype=self.outer, device=hidden_ND.device)
        self.common = [
            _Common(s, item_table_VD, inner) for s in batch.negatives if s.per == "batch"
        ]
        gathered = sum(s.ids.shape[-1] for s in batch.negatives if s.per != "batch")
        common = sum(s.ids.shape[-1] for s in batch.negatives if s.per == "batch")
        per_position = 4 * (gathered * hidden_ND.shape[1] + 2 * common)
        self.tile = max(1, _TILE_BYTES // max(1, per_position))

    def add(self, start, stop, objective, mask_hits, logq, top_k) -> None:
        batch, inner, outer = self.batch, self.inner, self.outer
        num_positions = self.hidden_ND.shape[0]
        hidden_TD = self.hidden_ND[start:stop].to(inner)
        targets_T = batch.targets_N[start:stop].long()
        target_rows_TD = self.item_table_VD[targets_T].to(inner)
        target_T = (hidden_TD.to(outer) * target_rows_TD.to(outer)).sum(1)
        if logq:
            target_T -= logq * batch.negatives[0].exponent * batch.log_popularity_V[targets_T]
        sources, scores = [], []
        common = iter(self.common)
        for source in batch.negatives:
            if source.per == "batch":
                found = next(common)
                score = hidden_TD @ found.rows_KD.T
                ids = found.ids_K[None, :]
            else:
                found = _Own(source, batch, start, stop, self.item_table_VD, inner)
                score = torch.bmm(found.rows_TKD, hidden_TD[:, :, None]).squeeze(2)
                ids = found.ids_TK
            score = score.to(outer)
            if logq and source.exponent:
                score -= logq * source.exponent * batch.log_popularity_V[ids]
            empty = ids == batch.pad_id
            if mask_hits:
                empty = empty | (ids == targets_T[:, None])
            scores.append(score.masked_fill_(empty, -torch.inf))
            sources.append(found)
        negative_TK = scores[0] if len(scores) == 1 else torch.cat(scores, 1)
        del scores, score
        if top_k is None:
            slopes = objective(target_T, negative_TK)
        else:
            best_TK, places_TK = negative_TK.topk(top_k, 1, sorted=False)
            slopes = objective(target_T, best_TK)
            spread_TK = negative_TK.zero_().scatter_(1, places_TK, slopes.negatives)
            slopes = slopes._replace(negatives=spread_TK)
        self.total += slopes.loss.sum()
        slope_T = slopes.target / num_positions
        slope_TK = slopes.negatives.div_(num_positions)
        if self.grad_hidden_ND is not None:
            grad_TD = slope_T[:, None] * target_rows_TD
            first = 0
            for found in sources:
                last = first + found.num
                grad_TD += found.to_hidden(slope_TK[:, first:last].to(inner))
                first = last
            self.grad_hidden_ND[start:stop] = grad_TD
        if self.grad_table_VD is not None:
            self.grad_table_VD.index_add_(
                0, targets_T, (slope_T[:, None] * hidden_TD).to(self.grad_table_VD.dtype)
            )
            first = 0
            for found in sources:
                last = first + found.num
                found.to_table(slope_TK[:, first:last].to(inner), hidden_TD, self.grad_table_VD)
                first = last

    def finish(self) -> tuple[Tensor, Tensor | None, Tensor | None]:
        if self.grad_table_VD is not None:
            for found in self.common:
                found.finish(self.grad_table_VD)
        return self.total / self.hidden_ND.shape[0], self.grad_hidden_ND, self.grad_table_VD


class _Common:
    """Negatives of the whole batch: one matrix product, nothing gathered per position."""

    def __init__(self, source: Negatives, item_table_VD: Tensor, inner: torch.dtype) -> None:
        self.ids_K = source.ids.long()
        self.num = source.ids.shape[0]
        self.rows_KD = item_table_VD[self.ids_K].to(inner)
        self.grad_KD = torch.zeros_like(self.rows_KD, dtype=outer_dtype(item_table_VD))

    def to_hidden(self, slope_TK: Tensor) -> Tensor:
        return slope_TK @ self.rows_KD

    def to_table(self, slope_TK: Tensor, hidden_TD: Tensor, grad_table_VD: Tensor) -> None:
        self.grad_KD += slope_TK.T @ hidden_TD

    def finish(self, grad_table_VD: Tensor) -> None:
        grad_table_VD.index_add_(0, self.ids_K, self.grad_KD.to(grad_table_VD.dtype))


class _Own:
    """Negatives of each position, or of its sequence: rows gathered for one tile of positions."""

    def __init__(self, source, batch, start, stop, item_table_VD, inner) -> None:
        if source.per == "position":
            self.ids_TK = source.ids[start:stop].long()
        else:
            self.ids_TK = source.ids[batch.sequence_N[start:stop].long()].long()
        self.num = self.ids_TK.shape[1]
        self.rows_TKD = item_table_VD[self.ids_TK].to(inner)

    def to_hidden(self, slope_TK: Tensor) -> Tensor:
        return torch.bmm(slope_TK[:, None, :], self.rows_TKD).squeeze(1)

    def to_table(self, slope_TK: Tensor, hidden_TD: Tensor, grad_table_VD: Tensor) -> None:
        # The rows themselves are no longer needed: their room takes the gradients.
        grad_TKD = torch.mul(slope_TK[:, :, None], hidden_TD[:, None, :], out=self.rows_TKD)
        grad_table_VD.index_add_(
            0, self.ids_TK.flatten(), grad_TKD.flatten(0, 1).to(grad_table_VD.dtype)
        )
