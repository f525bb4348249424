"""Rank all items for a block of users, without a look at any value on a GPU."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from scalelab.batches.histories import HistoryBatch
from scalelab.batches.moving import moved
from scalelab.core.errors import SpecError
from scalelab.losses import target_of
from scalelab.models import EncoderInput

if TYPE_CHECKING:
    from scalelab.train.evaluate import Evaluator

__all__ = ["Ranks", "Scorer"]

# Columns whose equal scores are counted in one byte.
_LANES = 64
# Scores of a row that are compared at once on a CPU.
_PART = 2**16


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Where the targets of a block stand.

    `above_S` items score above each target and `ties_S` (itself included) the same: exact where the
    target is among the first k; elsewhere all k are above it and it is a miss. On a CPU others may
    lie beyond the k-th where that is a tie, `cut_S1`.
    """

    above_S: Tensor
    ties_S: Tensor
    cut_S1: Tensor
    target_score_S1: Tensor


class Scorer:
    """Ranks all items for a block of users, in one buffer that is used again.

    `rank` looks at no value, so that planning can run it on fake tensors and a GPU is not
    waited for. `finite` says whether all scores so far were numbers.
    """

    def __init__(self, model: nn.Module, settings: "Evaluator", num_users: int) -> None:
        self.model = model
        self.settings = settings
        table_VD = model.item_table_VD
        assert isinstance(table_VD, Tensor)
        self.table_VD = table_VD.detach()
        target = target_of(self.table_VD)
        self.on_gpu = target.kind == "cuda"
        # Space for whole chunks of columns, see `top`; the columns past the catalog stay -inf.
        num_rows, hidden_dim = self.table_VD.shape
        self.chunk = max(1, math.isqrt(num_rows))
        if self.on_gpu:
            self.chunk = -(-self.chunk // _LANES) * _LANES
        # Columns that are looked at together where a second block of all scores has no space.
        self.width = _LANES * self.chunk
        self.columns = -(-num_rows // self.chunk) * self.chunk
        users = min(num_users, settings.block_users(hidden_dim, target))
        self.buffer = self.table_VD.new_full((users, self.columns), -torch.inf)
        self.finite = self.table_VD.new_ones((), dtype=torch.bool)
        # What is known of every user; made now, so that each block finds the same memory in use.
        self.num_kept = 0
        self.above_n = self.table_VD.new_zeros(num_users, dtype=torch.int64)
        self.ties_n = torch.zeros_like(self.above_n)
        # A list has no more places than there are items.
        self.places = min(max(settings.ks), num_rows - 1)
        # In how many of the first k each item appeared, by place and by item.
        self.levels_k = self.table_VD.new_zeros(self.places, dtype=torch.uint8)
        for k in settings.ks:
            self.levels_k[:k] += 1
        self.shown_V = self.table_VD.new_zeros(num_rows, dtype=torch.uint8)

    def rank(self, batch: HistoryBatch, targets_S: Tensor, seen: Tensor) -> Ranks:
        """`seen` are flat indices into (S, columns) of what the users have seen."""
        ids_BL, segments_BL, positions_BL, last_S, targets_S, seen = moved(
            (
                batch.item_ids_BL,
                batch.segments_BL,
                batch.positions_BL,
                batch.last_S,
                targets_S,
                seen if self.settings.exclude_seen else seen[:0],
            ),
            self.table_VD.device,
        )
        inputs = EncoderInput(ids_BL, segments_BL, positions_BL, len(last_S))
        scores_SV = self._scores(inputs, last_S)
        target_score_S1 = scores_SV.gather(1, targets_S[:, None])
        if self.settings.exclude_seen:
            # The buffer is contiguous in its rows, so that a flat index reaches every score.
            scores_SV.view(-1).index_fill_(0, seen, -torch.inf)
        top_Sk, items_Sk = self._top(scores_SV)
        # A comparison with NaN is False, so that a broken model would look like a perfect one.
        self.finite &= target_score_S1.isfinite().all() & ~top_Sk[:, 0].isnan().any()
        # An item without a score is in nobody's list, and a column past the catalog is not an item:
        # the places that are left over count for the padding row.
        items_Sk.masked_fill_(top_Sk == -torch.inf, 0)
        levels_Sk = self.levels_k.expand_as(items_Sk).flatten()
        self.shown_V.scatter_reduce_(0, items_Sk.flatten(), levels_Sk, "amax")
        return Ranks(
            above_S=(top_Sk > target_score_S1).sum(1),
            ties_S=self._ties(scores_SV, target_score_S1)
            if self.on_gpu
            else (top_Sk == target_score_S1).sum(1),
            cut_S1=top_Sk[:, -1:] == target_score_S1,
            target_score_S1=target_score_S1,
        )

    def keep(self, ranks: Ranks) -> None:
        """Note where the targets of the block that was ranked last stand."""
        end = self.num_kept + len(ranks.above_S)
        self.above_n[self.num_kept : end] = ranks.above_S
        self.ties_n[self.num_kept : end] = self._all_ties(ranks)
        self.num_kept = end

    def kept(self) -> tuple[np.ndarray, np.ndarray]:
        """Items above and level with the target of each user that was ranked for."""
        above_n, ties_n = (n[: self.num_kept].cpu().numpy() for n in (self.above_n, self.ties_n))
        return above_n, ties_n

    def _all_ties(self, ranks: Ranks) -> Tensor:
        """(S) ties of the block ranked last, those beyond the first k counted among all scores."""
        if not self.on_gpu:  # few rows as a rule, but how many is known only once they are there
            for row in ranks.cut_S1.squeeze(1).nonzero().squeeze(1).tolist():
                parts = self.buffer[row].split(_PART)
                score = ranks.target_score_S1[row]
                ranks.ties_S[row] = sum(int((part == score).count_nonzero()) for part in parts)
        return ranks.ties_S.clamp(min=1)

    def coverage(self) -> dict[str, float]:
        """Share of the catalog that appeared in anybody's first k."""
        shown, ks = self.shown_V[1:].cpu().numpy(), self.settings.ks
        levels = {k: sum(k <= other for other in ks) for k in ks}
        return {f"coverage@{k}": float((shown >= levels[k]).mean()) for k in ks}

    def _scores(self, inputs: EncoderInput, last_S: Tensor) -> Tensor:
        """(S, V and some columns of -inf); the padding column is -inf too."""
        hidden_BLD = self.model(inputs)
        hidden_SD = hidden_BLD.reshape(-1, hidden_BLD.size(-1)).index_select(0, last_S)
        scores_SV = self.buffer[: len(last_S)]
        num_rows = self.table_VD.size(0)
        if self.settings.scores is None:
            torch.mm(hidden_SD, self.table_VD.T, out=scores_SV[:, :num_rows])
        else:  # some items at a time: a second block of all scores has no space
            for first in range(0, num_rows, self.width):
                items_WD = self.table_VD[first : first + self.width]
                scores_SV[:, first : first + len(items_WD)] = self._by_loss(hidden_SD, items_WD)
        scores_SV[:, 0] = -torch.inf
        return scores_SV

    def _by_loss(self, hidden_SD: Tensor, items_WD: Tensor) -> Tensor:
        """(S, W) by the loss's own scores. Raises SpecError where they are not of that shape."""
        scores = self.settings.scores
        assert scores is not None, "without it the inner product counts"
        scores_SW = scores(hidden_SD, items_WD)
        if scores_SW.shape != (len(hidden_SD), len(items_WD)):
            raise SpecError(
                f"`scores` of the loss returned a tensor of shape {tuple(scores_SW.shape)} for "
                f"{len(hidden_SD)} hidden states and {len(items_WD)} items",
                "return one row per hidden state and one column per item",
            )
        return scores_SW

    def _ties(self, scores_SV: Tensor, target_score_S1: Tensor) -> Tensor:
        """(S) scores equal to the target's, some columns at a time: a second block has no space."""
        ties_S = scores_SV.new_zeros(len(scores_SV), dtype=torch.int64)
        for part_SW in scores_SV.split(self.width, 1):
            equal = (part_SW == target_score_S1).view(torch.uint8).unflatten(1, (-1, _LANES))
            # A sum in a wider type would first copy all it sums to that type.
            ties_S += equal.sum(2, dtype=torch.uint8).sum(1)
        return ties_S

    def _top(self, scores_SV: Tensor) -> tuple[Tensor, Tensor]:
        """Values and items of the largest scores, (S, max k) each.

        The k largest lie in the k chunks of columns with the largest maxima, so a sort of all
        columns is not needed; every score is read once.
        """
        k = self.places
        chunks_SCW = scores_SV.unflatten(1, (-1, self.chunk))
        if chunks_SCW.size(1) <= k:
            return scores_SV.topk(k, dim=1)  # pyright: ignore[reportReturnType]
        best_Sk = chunks_SCW.amax(2).topk(k, dim=1).indices
        some_SkW = chunks_SCW.gather(1, best_Sk[:, :, None].expand(-1, -1, self.chunk))
        values_Sk, places_Sk = some_SkW.flatten(1).topk(k, dim=1)
        chunk_Sk = best_Sk.gather(1, places_Sk // self.chunk)
        return values_Sk, chunk_Sk * self.chunk + places_Sk % self.chunk
