"""Rank all items for a block of users, without a look at any value on a GPU."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor  # noqa: PLC2701

from scalelab.batches.histories import HistoryBatch
from scalelab.batches.moving import moved
from scalelab.losses import target_of
from scalelab.models import EncoderInput
from scalelab.train.item_popularity import PopularityOfLists
from scalelab.train.score_panels import LANES, ScorePanels

if TYPE_CHECKING:
    from scalelab.train.evaluate import Evaluator

__all__ = ["Ranks", "Scorer"]

# Scores of a row that are compared at once on a CPU.
_PART = 2**16


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Where the targets of a block stand.

    `above_S` items score above each target and `ties_S` (itself included) the same: exact where the
    target is among the first k; elsewhere all k are above it and it is a miss. On a CPU others may
    lie beyond the k-th where that is a tie, `cut_S1`. `items_Sk` are the first k, 0 where there are
    no more.
    """

    above_S: Tensor
    ties_S: Tensor
    cut_S1: Tensor
    target_score_S1: Tensor
    items_Sk: Tensor


class Scorer:
    """Ranks all items for a block of users, in one buffer that is used again.

    `rank` looks at no value, so that planning can run it on fake tensors and a GPU is not
    waited for. `finite` says whether all scores so far were numbers. With `popularity_V`, of which
    `lists` then has the means, it is waited for after every block: no memory of its own is taken.
    """

    def __init__(
        self,
        model: nn.Module,
        settings: "Evaluator",
        num_users: int,
        popularity_V: np.ndarray | None = None,
    ) -> None:
        self.model = model
        self.settings = settings
        table: Any = model.item_table_VD
        self.device = table.device
        target = target_of(table)
        self.on_gpu = target.kind == "cuda"
        num_rows, hidden_dim = table.shape
        users = min(num_users, settings.block_users(hidden_dim, target))
        numbers = settings.panel_numbers or users * num_rows
        self.scores = ScorePanels(table.detach(), settings.scores, users=users, numbers=numbers)
        self.columns = self.scores.columns if self.scores.is_one else num_rows
        self.finite = torch.ones((), dtype=torch.bool, device=self.device)
        # What is known of every user; made now, so that each block finds the same memory in use.
        self.num_kept = 0
        self.above_n = torch.zeros(num_users, dtype=torch.int64, device=self.device)
        self.ties_n = torch.zeros_like(self.above_n)
        # A list has no more places than there are items.
        self.places = min(max(settings.ks), num_rows - 1)
        # In how many of the first k each item appeared, by place and by item.
        self.levels_k = torch.zeros(self.places, dtype=torch.uint8, device=self.device)
        for k in settings.ks:
            self.levels_k[:k] += 1
        self.shown_V = torch.zeros(num_rows, dtype=torch.uint8, device=self.device)
        self.lists = None if popularity_V is None else PopularityOfLists(popularity_V, self.places)

    @property
    def block_users(self) -> int:
        """Users that are ranked for at once."""
        return len(self.scores.buffer)

    def rank(self, batch: HistoryBatch, targets_S: Tensor, seen: Tensor) -> Ranks:
        """`seen` are flat indices into (S, columns) of what the users have seen."""
        rows_S = () if batch.user_rows_S is None else (batch.user_rows_S,)
        ids_BL, segments_BL, positions_BL, last_S, targets_S, seen, *rows_S = moved(
            (
                batch.item_ids_BL,
                batch.segments_BL,
                batch.positions_BL,
                batch.last_S,
                targets_S,
                seen if self.settings.exclude_seen else seen[:0],
                *rows_S,
            ),
            self.device,
        )
        hidden_BLD = self.model(
            EncoderInput(ids_BL, segments_BL, positions_BL, len(last_S), *rows_S)
        )
        hidden_SD = hidden_BLD.reshape(-1, hidden_BLD.size(-1)).index_select(0, last_S)
        del hidden_BLD
        if not self.scores.is_one:
            return self._rank_by_panels(hidden_SD, targets_S, seen)
        scores_SV = self.scores.whole(hidden_SD)
        del hidden_SD
        target_score_S1 = scores_SV.gather(1, targets_S[:, None])
        if self.settings.exclude_seen:
            # The buffer is contiguous in its rows, so that a flat index reaches every score.
            scores_SV.view(-1).index_fill_(0, seen, -torch.inf)
        top_Sk, items_Sk = self._top(scores_SV)
        self._note_shown(top_Sk, items_Sk, target_score_S1)
        return Ranks(
            above_S=(top_Sk > target_score_S1).sum(1),
            ties_S=self._ties(scores_SV, target_score_S1)
            if self.on_gpu
            else (top_Sk == target_score_S1).sum(1),
            cut_S1=top_Sk[:, -1:] == target_score_S1,
            target_score_S1=target_score_S1,
            items_Sk=items_Sk,
        )

    def _note_shown(self, top_Sk: Tensor, items_Sk: Tensor, target_score_S1: Tensor) -> None:
        # A comparison with NaN is False, so that a broken model would look like a perfect one.
        self.finite &= target_score_S1.isfinite().all() & ~top_Sk[:, 0].isnan().any()
        # An item without a score is in nobody's list, and a column past the catalog is not an item:
        # the places that are left over count for the padding row.
        items_Sk.masked_fill_(top_Sk == -torch.inf, 0)
        levels_Sk = self.levels_k.expand_as(items_Sk).flatten()
        self.shown_V.scatter_reduce_(0, items_Sk.flatten(), levels_Sk, "amax")

    def _rank_by_panels(self, hidden_SD: Tensor, targets_S: Tensor, seen: Tensor) -> Ranks:
        """The first k of each panel compete with the first k of those before."""
        num_users, k = len(hidden_SD), self.places
        top_Sk = hidden_SD.new_full((num_users, k), -torch.inf, dtype=self.scores.dtype)
        items_Sk = torch.zeros((num_users, k), dtype=torch.int64, device=self.device)
        target_score_S1 = torch.full_like(top_Sk[:, :1], torch.nan)
        for first, scores_SP in self._panels(hidden_SD, targets_S, seen, target_score_S1):
            values_Sk, places_Sk = self._top(scores_SP)
            both_S2k = torch.cat([top_Sk, values_Sk], 1)
            items_S2k = torch.cat([items_Sk, places_Sk + first], 1)
            top_Sk, chosen_Sk = both_S2k.topk(k, dim=1)
            items_Sk = items_S2k.gather(1, chosen_Sk)
        self._note_shown(top_Sk, items_Sk, target_score_S1)
        cut_S1 = top_Sk[:, -1:] == target_score_S1
        ties_S = (top_Sk == target_score_S1).sum(1)
        # Where a tie is cut off at the k-th place, all are counted in a second walk.
        # A GPU is not waited for, and fake tensors have no ties.
        if self.on_gpu or (not isinstance(cut_S1, FakeTensor) and bool(cut_S1.any())):
            all_S = torch.zeros_like(ties_S)
            for _, scores_SP in self._panels(hidden_SD, targets_S, seen, None):
                all_S += (
                    self._ties(scores_SP, target_score_S1)
                    if self.on_gpu
                    else (scores_SP == target_score_S1).count_nonzero(1)
                )
            ties_S = torch.where(cut_S1[:, 0], all_S, ties_S)
        return Ranks(
            above_S=(top_Sk > target_score_S1).sum(1),
            ties_S=ties_S,
            cut_S1=torch.zeros_like(cut_S1),
            target_score_S1=target_score_S1,
            items_Sk=items_Sk,
        )

    def _panels(
        self, hidden_SD: Tensor, targets_S: Tensor, seen: Tensor, target_score_S1: Tensor | None
    ) -> Iterator[tuple[int, Tensor]]:
        """Panels of scores, those of seen items taken out; the targets' scores are noted before."""
        rows, items = seen // self.columns, seen % self.columns
        for first, scores_SP in self.scores.panels(hidden_SD):
            width = scores_SP.shape[1]
            if target_score_S1 is not None:
                places_S1 = (targets_S - first).unsqueeze(1)
                inside_S1 = (places_S1 >= 0) & (places_S1 < width)
                found_S1 = scores_SP.gather(1, places_S1.clamp(0, width - 1))
                torch.where(inside_S1, found_S1, target_score_S1, out=target_score_S1)
            if self.settings.exclude_seen:
                self.scores.take_out(rows, items, first)
            yield first, scores_SP

    def keep(self, ranks: Ranks, new_S: np.ndarray) -> None:
        """Note where the targets of the block that was ranked last stand. Where `new_S` is False, a
        target is to be found in the list of the one before it, which counts as one list.
        """
        end = self.num_kept + len(ranks.above_S)
        self.above_n[self.num_kept : end] = ranks.above_S
        self.ties_n[self.num_kept : end] = self._all_ties(ranks)
        self.num_kept = end
        if self.lists:
            self.lists.add(ranks.items_Sk.cpu().numpy()[new_S])

    def kept(self) -> tuple[np.ndarray, np.ndarray]:
        """Items above and level with the target of each user that was ranked for."""
        above_n, ties_n = (n[: self.num_kept].cpu().numpy() for n in (self.above_n, self.ties_n))
        return above_n, ties_n

    def _all_ties(self, ranks: Ranks) -> Tensor:
        """(S) ties of the block ranked last, those beyond the first k counted among all scores."""
        if not self.on_gpu:  # few rows as a rule, but how many is known only once they are there
            for row in ranks.cut_S1.squeeze(1).nonzero().squeeze(1).tolist():
                parts = self.scores.buffer[row].split(_PART)
                score = ranks.target_score_S1[row]
                ranks.ties_S[row] = sum(int((part == score).count_nonzero()) for part in parts)
        return ranks.ties_S.clamp(min=1)

    def coverage(self) -> dict[str, float]:
        """Share of the catalog that appeared in anybody's first k."""
        shown, ks = self.shown_V[1:].cpu().numpy(), self.settings.ks
        levels = {k: sum(k <= other for other in ks) for k in ks}
        return {f"coverage@{k}": float((shown >= levels[k]).mean()) for k in ks}

    def _ties(self, scores_SV: Tensor, target_score_S1: Tensor) -> Tensor:
        """(S) scores equal to the target's, some columns at a time: a second block has no space."""
        ties_S = scores_SV.new_zeros(len(scores_SV), dtype=torch.int64)
        for part_SW in scores_SV.split(self.scores.width, 1):
            equal = (part_SW == target_score_S1).view(torch.uint8).unflatten(1, (-1, LANES))
            # A sum in a wider type would first copy all it sums to that type.
            ties_S += equal.sum(2, dtype=torch.uint8).sum(1)
        return ties_S

    def _top(self, scores_SV: Tensor) -> tuple[Tensor, Tensor]:
        """Values and items of the largest scores, (S, max k) each.

        The k largest lie in the k chunks of columns with the largest maxima, so a sort of all
        columns is not needed; every score is read once.
        """
        k = min(self.places, scores_SV.size(1))
        chunks_SCW = scores_SV.unflatten(1, (-1, self.scores.chunk))
        if chunks_SCW.size(1) <= k:
            return scores_SV.topk(k, dim=1)  # pyright: ignore[reportReturnType]
        best_Sk = chunks_SCW.amax(2).topk(k, dim=1).indices
        some_SkW = chunks_SCW.gather(1, best_Sk[:, :, None].expand(-1, -1, self.scores.chunk))
        values_Sk, places_Sk = some_SkW.flatten(1).topk(k, dim=1)
        chunk_Sk = best_Sk.gather(1, places_Sk // self.scores.chunk)
        return values_Sk, chunk_Sk * self.scores.chunk + places_Sk % self.scores.chunk
