"""A model and held-out targets in, full-catalog ranking metrics out."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from scalelab.batches.histories import history_batches
from scalelab.core.errors import DataError
from scalelab.core.units import MIB
from scalelab.datasets.interactions import Histories
from scalelab.datasets.splits import HeldOut
from scalelab.models import EncoderInput

__all__ = ["KS", "Diverged", "Evaluator", "ranking_metrics"]

KS = (1, 5, 10, 20)


class Diverged(Exception):
    """The loss or the scores are no longer finite numbers."""


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Ranks each target among all items, in blocks of users whose scores fit `block_bytes`.

    `exclude_seen` takes the items of the user's history out of the ranking; a target that the user
    has seen before is then a miss. Scores are fp32 whatever the training precision.
    """

    num_items: int
    max_len: int
    exclude_seen: bool
    packer: str = "first_fit"
    ks: tuple[int, ...] = KS
    block_bytes: int = 32 * MIB

    def __post_init__(self) -> None:
        if max(self.ks) > self.num_items:
            raise DataError(
                f"k = {max(self.ks)} is larger than the catalog of {self.num_items} items",
                "take a data set with more items, or loosen its filters",
            )

    @property
    def block_users(self) -> int:
        """Users scored at once; at least 8, so that a very large catalog still uses a matrix
        product.
        """
        return int(min(max(8, self.block_bytes // (4 * (self.num_items + 1))), 4096))

    @torch.no_grad()
    def __call__(
        self, model: nn.Module, held_out: HeldOut, max_users: int = 0, blocks: int = 0
    ) -> dict[str, float]:
        """`ndcg@k`, `hr@k`, `mrr@k`, `coverage@k`, and `num_users`, `num_repeated` (targets seen
        before).

        `max_users` > 0 takes that many users, evenly spaced; `blocks` > 0 stops after so many
        blocks.
        """
        users = np.flatnonzero(held_out.histories.lengths > 0)
        if 0 < max_users < len(users):
            users = users[np.linspace(0, len(users) - 1, max_users).astype(np.int64)]
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
            batches = history_batches(
                histories, packer=self.packer, max_len=self.max_len, size=self.block_users
            )
            scorer = _Scorer(model, self)
            for number, batch in enumerate(batches):
                if blocks and number == blocks:
                    break
                inputs = EncoderInput(
                    batch.item_ids_BL, batch.segments_BL, batch.positions_BL, len(batch.users_S)
                )
                users_S = batch.users_S.numpy()
                wanted_S = targets[users_S].astype(np.int64)
                seen = _Seen(histories, users_S)
                scores_SV = scorer.scores(inputs, batch.last_S)
                target_S1 = torch.from_numpy(wanted_S)[:, None].to(scores_SV.device)
                target_score_S1 = scores_SV.gather(1, target_S1)
                if self.exclude_seen:
                    scorer.exclude(scores_SV, seen)
                top_Sk, items_Sk = scorer.top(scores_SV)
                # A comparison with NaN is False, so that a broken model would look like a perfect
                # one.
                if not bool(target_score_S1.isfinite().all() & ~top_Sk[:, 0].isnan().any()):
                    raise Diverged("the scores are not finite numbers")
                above, ties = _places(scores_SV, top_Sk, target_score_S1)
                above_n.append(above)
                ties_n.append(ties)
                repeated_n.append(seen.have(wanted_S))
                shown.add(items_Sk)
        finally:
            model.train(was_training)
        above, ties, repeated = map(np.concatenate, (above_n, ties_n, repeated_n))
        metrics = ranking_metrics(above, ties, repeated if self.exclude_seen else None, self.ks)
        metrics |= shown.coverage()
        return metrics | {"num_users": len(above), "num_repeated": int(repeated.sum())}


class _Scorer:
    """Scores of all items for a block of users, in one buffer that is used again."""

    def __init__(self, model: nn.Module, settings: Evaluator) -> None:
        self.model = model
        self.settings = settings
        table_VD = model.item_table_VD
        assert isinstance(table_VD, Tensor)
        self.table_VD = table_VD.detach()
        # Room for whole chunks of columns, see `top`; the columns past the catalog stay -inf.
        num_rows = self.table_VD.size(0)
        self.chunk = max(1, math.isqrt(num_rows))
        columns = -(-num_rows // self.chunk) * self.chunk
        self.buffer = self.table_VD.new_full((settings.block_users, columns), -torch.inf)

    def scores(self, inputs: EncoderInput, last_S: Tensor) -> Tensor:
        """(S, V and some columns of -inf); the padding column is -inf too."""
        device = self.table_VD.device
        on_device = EncoderInput(
            inputs.item_ids_BL.to(device),
            inputs.segments_BL.to(device),
            inputs.positions_BL.to(device),
            inputs.num_sequences,
        )
        hidden_BLD = self.model(on_device)
        hidden_SD = hidden_BLD.reshape(-1, hidden_BLD.size(-1)).index_select(0, last_S.to(device))
        scores_SV = self.buffer[: len(last_S)]
        torch.mm(hidden_SD, self.table_VD.T, out=scores_SV[:, : self.table_VD.size(0)])
        scores_SV[:, 0] = -torch.inf
        return scores_SV

    def top(self, scores_SV: Tensor) -> tuple[Tensor, Tensor]:
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

    def exclude(self, scores_SV: Tensor, seen: "_Seen") -> None:
        """Take what the users have seen out of the ranking, in place."""
        flat = torch.from_numpy(seen.rows * scores_SV.size(1) + seen.items)
        # The buffer is contiguous in its rows, so that a flat index reaches every score.
        scores_SV.view(-1).index_fill_(0, flat.to(scores_SV.device), -torch.inf)


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


def _places(
    scores_SV: Tensor, top_Sk: Tensor, target_score_S1: Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """How many items score above each target, and how many tie with it (itself included).

    Exact where the target is among the first k; elsewhere all k are above it and it is a miss.
    """
    above_S = (top_Sk > target_score_S1).sum(1)
    ties_S = (top_Sk == target_score_S1).sum(1)
    # Ties that may reach past the first k are counted among all scores.
    cut_S = (top_Sk[:, -1:] == target_score_S1).squeeze(1).nonzero().squeeze(1)
    if len(cut_S):
        ties_S[cut_S] = (scores_SV[cut_S] == target_score_S1[cut_S]).sum(1)
    return above_S.cpu().numpy(), ties_S.clamp(min=1).cpu().numpy()


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
