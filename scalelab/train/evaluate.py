"""A model and held-out targets in, full-catalog ranking metrics out."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from scalelab.batches.histories import HistoryBatch, history_batches
from scalelab.core.errors import DataError
from scalelab.core.units import MIB
from scalelab.datasets.interactions import Histories
from scalelab.datasets.splits import HeldOut
from scalelab.models import EncoderInput

__all__ = ["KS", "Diverged", "Evaluator", "Scorer", "evaluated", "ranking_metrics"]

KS = (1, 5, 10, 20)


class Diverged(Exception):
    """The loss or the scores are no longer finite numbers."""


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Ranks each target among all items, in blocks of users that fit `block_bytes`: their scores
    do, and four times their hidden states, about what an encoder holds at once.

    `exclude_seen` takes the items of the user's history out of the ranking; a target that the user
    has seen before is then a miss. `masked` asks a model that guesses masked items for the one
    behind the history. Scores are fp32 whatever the training precision.
    """

    num_items: int
    max_len: int
    exclude_seen: bool
    masked: bool = False
    packer: str = "first_fit"
    ks: tuple[int, ...] = KS
    block_bytes: int = 16 * MIB

    def __post_init__(self) -> None:
        if max(self.ks) > self.num_items:
            raise DataError(
                f"k = {max(self.ks)} is larger than the catalog of {self.num_items} items",
                "take a data set with more items, or loosen its filters",
            )

    def block_users(self, hidden_dim: int) -> int:
        """Users scored at once; at least 8, so that a very large catalog still uses a matrix
        product.
        """
        largest = max(4 * (self.num_items + 1), 4 * 4 * self.max_len * hidden_dim)
        return max(8, self.block_bytes // largest)

    @torch.no_grad()
    def __call__(
        self, model: nn.Module, held_out: HeldOut, max_users: int = 0, blocks: int = 0
    ) -> dict[str, float]:
        """`ndcg@k`, `hr@k`, `mrr@k`, `coverage@k`, and `num_users`, `num_repeated` (targets seen
        before).

        `max_users` > 0 takes that many users, evenly spaced; `blocks` > 0 stops after so many
        blocks.
        """
        users = evaluated(held_out.histories.lengths, max_users)
        if len(users) == 0:
            raise DataError("no user can be evaluated", "the split leaves no held-out target")
        histories = Histories(
            item_ids=held_out.histories.item_ids,
            starts=held_out.histories.starts[users],
            ends=held_out.histories.ends[users],
        )
        return self._evaluate(model, histories, held_out.targets[users], blocks)

    def _evaluate(
        self, model: nn.Module, histories: Histories, targets: np.ndarray, blocks: int
    ) -> dict[str, float]:
        was_training = model.training
        model.eval()
        above_n, ties_n, repeated_n, shown = [], [], [], _Shown(self.num_items, self.ks)
        try:
            scorer = Scorer(model, self, len(targets))
            batches = history_batches(
                histories,
                packer=self.packer,
                max_len=self.max_len,
                size=len(scorer.buffer),
                masked=self.masked,
            )
            for number, batch in enumerate(batches):
                if blocks and number == blocks:
                    break
                users_S = batch.users_S.numpy()
                wanted_S = targets[users_S].astype(np.int64)
                seen = _Seen(histories, users_S)
                flat = torch.from_numpy(seen.rows * scorer.columns + seen.items)
                ranks = scorer.rank(batch, torch.from_numpy(wanted_S), flat)
                if not bool(ranks.finite):
                    raise Diverged("the scores are not finite numbers")
                above_n.append(ranks.above_S.cpu().numpy())
                ties_n.append(scorer.all_ties(ranks).cpu().numpy())
                repeated_n.append(seen.have(wanted_S))
                shown.add(ranks.items_Sk)
        finally:
            model.train(was_training)
        above, ties, repeated = map(np.concatenate, (above_n, ties_n, repeated_n))
        metrics = ranking_metrics(above, ties, repeated if self.exclude_seen else None, self.ks)
        metrics |= shown.coverage()
        return metrics | {"num_users": len(above), "num_repeated": int(repeated.sum())}


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Where the targets of a block stand, and its lists.

    `above_S` items score above each target and `ties_S` (itself included) the same: exact where the
    target is among the first k; elsewhere all k are above it and it is a miss. Where the k-th is a
    tie, `cut_S1`, others may lie beyond it. `finite` is a scalar.
    """

    above_S: Tensor
    ties_S: Tensor
    cut_S1: Tensor
    target_score_S1: Tensor
    items_Sk: Tensor
    finite: Tensor


class Scorer:
    """Ranks all items for a block of users, in one buffer that is used again.

    `rank` looks at no value, so that a planner can rehearse it on fake tensors.
    """

    def __init__(self, model: nn.Module, settings: Evaluator, num_users: int) -> None:
        self.model = model
        self.settings = settings
        table_VD = model.item_table_VD
        assert isinstance(table_VD, Tensor)
        self.table_VD = table_VD.detach()
        # Room for whole chunks of columns, see `top`; the columns past the catalog stay -inf.
        num_rows, hidden_dim = self.table_VD.shape
        self.chunk = max(1, math.isqrt(num_rows))
        self.columns = -(-num_rows // self.chunk) * self.chunk
        users = min(num_users, settings.block_users(hidden_dim))
        self.buffer = self.table_VD.new_full((users, self.columns), -torch.inf)

    def rank(self, batch: HistoryBatch, targets_S: Tensor, seen: Tensor) -> Ranks:
        """`seen` are flat indices into (S, columns) of what the users have seen."""
        device = self.table_VD.device
        scores_SV = self._scores(batch)
        target_score_S1 = scores_SV.gather(1, targets_S[:, None].to(device))
        if self.settings.exclude_seen:
            # The buffer is contiguous in its rows, so that a flat index reaches every score.
            scores_SV.view(-1).index_fill_(0, seen.to(device), -torch.inf)
        top_Sk, items_Sk = self._top(scores_SV)
        return Ranks(
            above_S=(top_Sk > target_score_S1).sum(1),
            ties_S=(top_Sk == target_score_S1).sum(1),
            cut_S1=top_Sk[:, -1:] == target_score_S1,
            target_score_S1=target_score_S1,
            items_Sk=items_Sk,
            # A comparison with NaN is False, so that a broken model would look like a perfect one.
            finite=target_score_S1.isfinite().all() & ~top_Sk[:, 0].isnan().any(),
        )

    def all_ties(self, ranks: Ranks) -> Tensor:
        """(S) ties of the block ranked last, those beyond the first k counted among all scores."""
        cut = ranks.cut_S1.squeeze(1).nonzero().squeeze(1)
        if len(cut):
            ranks.ties_S[cut] = (self.buffer[cut] == ranks.target_score_S1[cut]).sum(1)
        return ranks.ties_S.clamp(min=1)

    def _scores(self, batch: HistoryBatch) -> Tensor:
        """(S, V and some columns of -inf); the padding column is -inf too."""
        device, last_S = self.table_VD.device, batch.last_S
        inputs = EncoderInput(
            batch.item_ids_BL.to(device),
            batch.segments_BL.to(device),
            batch.positions_BL.to(device),
            len(last_S),
        )
        hidden_BLD = self.model(inputs)
        hidden_SD = hidden_BLD.reshape(-1, hidden_BLD.size(-1)).index_select(0, last_S.to(device))
        scores_SV = self.buffer[: len(last_S)]
        torch.mm(hidden_SD, self.table_VD.T, out=scores_SV[:, : self.table_VD.size(0)])
        scores_SV[:, 0] = -torch.inf
        return scores_SV

    def _top(self, scores_SV: Tensor) -> tuple[Tensor, Tensor]:
        """Values and items of the largest scores, (S, max k) each.

        The k largest lie in the k chunks of columns with the largest maxima, so a sort of all
        columns is not needed; every score is read once.
        """
        k = max(self.settings.ks)
        chunks_SCW = scores_SV.unflatten(1, (-1, self.chunk))
        if chunks_SCW.size(1) <= k:
            return scores_SV.topk(k, dim=1)  # pyright: ignore[reportReturnType]
        best_Sk = chunks_SCW.amax(2).topk(k, dim=1).indices
        some_SkW = chunks_SCW.gather(1, best_Sk[:, :, None].expand(-1, -1, self.chunk))
        values_Sk, places_Sk = some_SkW.flatten(1).topk(k, dim=1)
        chunk_Sk = best_Sk.gather(1, places_Sk // self.chunk)
        return values_Sk, chunk_Sk * self.chunk + places_Sk % self.chunk


class _Seen:
    """The items of a block of histories, flat: `items[i]` was seen by the user of row `rows[i]`."""

    def __init__(self, histories: Histories, users: np.ndarray) -> None:
        starts = histories.starts[users]
        lengths = histories.ends[users] - starts
        before = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self.rows = np.repeat(np.arange(len(users)), lengths)
        places = np.repeat(starts - before, lengths) + np.arange(len(self.rows))
        self.items = histories.item_ids[places].astype(np.int64)

    def have(self, targets: np.ndarray) -> np.ndarray:
        """(S) bool: has the user seen the target before?"""
        repeated = np.zeros(len(targets), dtype=bool)
        repeated[self.rows[self.items == targets[self.rows]]] = True
        return repeated


def evaluated(lengths: np.ndarray, max_users: int = 0) -> np.ndarray:
    """Indices of the users that are ranked for: all with a history, or `max_users` of them."""
    users = np.flatnonzero(lengths > 0)
    if 0 < max_users < len(users):
        users = users[np.linspace(0, len(users) - 1, max_users).astype(np.int64)]
    return users


class _Shown:
    """Which items appeared in anybody's first k."""

    def __init__(self, num_items: int, ks: tuple[int, ...]) -> None:
        self.num_items = num_items
        self.seen = {k: np.zeros(num_items + 1, dtype=bool) for k in ks}

    def add(self, items_Sk: Tensor) -> None:
        """`items_Sk` are lists of items, best first."""
        items = items_Sk.cpu().numpy()
        for k, seen in self.seen.items():
            seen[items[:, :k]] = True

    def coverage(self) -> dict[str, float]:
        """Share of the catalog."""
        return {f"coverage@{k}": float(s[1:].sum()) / self.num_items for k, s in self.seen.items()}


def ranking_metrics(
    above: np.ndarray, ties: np.ndarray, missed: np.ndarray | None, ks: tuple[int, ...]
) -> dict[str, float]:
    """Means over users of HR@k, NDCG@k and MRR@k with one relevant item each.

    `above` items score higher than the target and `ties` (itself included) the same: each metric is
    its expectation over the `ties` equally likely ranks above + 1 ... above + ties, so that a
    constant scorer scores like chance. Where `missed` is True the user counts as a miss.
    """
    hit = np.ones(len(above)) if missed is None else 1.0 - missed
    ranks = np.arange(1, max(ks) + 1)
    gains = {"hr": np.ones(len(ranks)), "ndcg": 1 / np.log2(1 + ranks), "mrr": 1 / ranks}
    metrics = {}
    for name, gain in gains.items():
        total = np.concatenate([[0.0], np.cumsum(gain)])
        for k in ks:
            value = (total[np.minimum(k, above + ties)] - total[np.minimum(k, above)]) / ties
            metrics[f"{name}@{k}"] = float((value * hit).mean())
    return metrics
