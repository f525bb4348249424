"""Rank held-out targets among the whole catalog, and average the metrics over users."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from scalelab.batches.histories import BlockShape, block_shapes, history_batches
from scalelab.batches.largest import not_exceeded
from scalelab.core.errors import DataError
from scalelab.core.target import Target
from scalelab.core.units import MIB
from scalelab.datasets.evaluated import begins_of_runs
from scalelab.datasets.interactions import Histories
from scalelab.datasets.known_users import training_rows
from scalelab.datasets.splits import HeldOut
from scalelab.losses import Scores
from scalelab.models.users import user_table_of
from scalelab.ranking.metrics import KS, TargetRanks, ranking_metrics, user_ranks
from scalelab.train.divergence import Diverged
from scalelab.train.scoring import Scorer

__all__ = ["BlockChoice", "Evaluator"]

_CPU_BLOCK = 16 * MIB
# Fewer would make thin products.
_FEWEST_USERS = 8
# Where the scores of so few are too many: users at once, and scores at once by `most_bytes`.
_PANEL_USERS, _PANEL_SHARE = 64, 32


class BlockChoice(NamedTuple):
    """A block of evaluation by split and number (from 0), with its sizes."""

    split: str
    number: int
    shape: BlockShape


@dataclass(frozen=True, kw_only=True)
class Evaluator:
    """Ranks each target among all items, in blocks of users that fit `block_bytes`: their scores
    do, and four times their hidden states, about what an encoder holds at once. 0 stands for 16 MiB
    on a CPU, and for a quarter of a tile on a GPU (256 MiB of 80 GB): there launches are dear. On
    small catalogs evaluation then takes more than training; a budget counts both.

    `exclude_seen` takes the items of the user's history out of the ranking; a target that the user
    has seen before is then a miss. `masked` makes a model that guesses masked items rank the one
    behind the history. Scores are fp32 whatever the training precision. A k above the catalog, or
    above what a user has not seen, stands for all these items. `scores` takes the place of
    the inner product of hidden state and item. `trained` are the training histories, of which a
    model with a table of users has a row each.
    """

    num_items: int
    max_len: int
    exclude_seen: bool
    masked: bool = False
    packer: str = "first_fit"
    ks: tuple[int, ...] = KS
    block_bytes: int = 0
    most_bytes: int = 512 * MIB
    scores: Scores | None = None
    trained: Histories | None = None

    def block_users(self, hidden_dim: int, target: Target | None) -> int:
        """Users scored at once on `target` (None: a CPU); at least 8, so that a very large catalog
        still uses a matrix product.
        """
        if self.panel_numbers:
            return _PANEL_USERS
        on_gpu = target is not None and target.kind == "cuda"
        space = self.block_bytes or (target.tile_bytes // 4 if target and on_gpu else _CPU_BLOCK)
        largest = max(4 * (self.num_items + 1), 4 * 4 * self.max_len * hidden_dim)
        return max(_FEWEST_USERS, space // largest)

    @property
    def panel_numbers(self) -> int:
        """Scores that are held at once where those of few users are too many; else 0."""
        if 4 * _FEWEST_USERS * (self.num_items + 1) <= self.most_bytes:
            return 0
        return self.most_bytes // _PANEL_SHARE

    def largest_blocks(
        self, lengths: Mapping[str, np.ndarray], *, block_users: int
    ) -> tuple[BlockChoice, ...]:
        """The blocks of all splits that may need most memory: those that no other one equals or
        exceeds in every size. `lengths` are those of the histories that are ranked for, by split.
        """
        return not_exceeded(
            BlockChoice(split, number, shape if self.exclude_seen else shape._replace(num_seen=0))
            for split, some in lengths.items()
            for number, shape in enumerate(
                block_shapes(
                    some,
                    packer=self.packer,
                    max_len=self.max_len,
                    size=block_users,
                    masked=self.masked,
                )
            )
        )

    def __call__(
        self, model: nn.Module, held_out: HeldOut, max_users: int = 0, block: int | None = None
    ) -> dict[str, float]:
        """The metrics of `ranked` alone."""
        return self.ranked(model, held_out, max_users, block)[0]

    @torch.no_grad()
    def ranked(
        self,
        model: nn.Module,
        held_out: HeldOut,
        max_users: int = 0,
        block: int | None = None,
        *,
        firsts: list[np.ndarray] | None = None,
        popularity_V: np.ndarray | None = None,
    ) -> tuple[dict[str, float], TargetRanks]:
        """`ndcg@k`, `hr@k`, `recall@k`, `mrr@k`, `coverage@k`, and `num_users`, `num_targets`,
        `num_repeated` (targets seen before); and the rank of each target, as `user_ranks` has it.

        `max_users` > 0 takes that many users, evenly spaced; `block` takes that block of them only.
        `firsts` gets the item that is first in each list, block by block.
        With `popularity_V` there are `popularity@k` and `target_popularity`, its means over what is
        recommended, each list once, and over the targets.
        """
        rows = held_out.evaluated(max_users)
        if len(rows) == 0:
            raise DataError(
                "no user can be evaluated",
                "the split leaves no held-out target; change data.split or data.cut",
            )
        histories = Histories(
            item_ids=held_out.histories.item_ids,
            starts=held_out.histories.starts[rows],
            ends=held_out.histories.ends[rows],
        )
        return self._evaluate(
            model,
            histories,
            held_out,
            rows=rows,
            block=block,
            firsts=firsts,
            popularity_V=popularity_V,
        )

    def _evaluate(
        self,
        model: nn.Module,
        histories: Histories,
        held_out: HeldOut,
        *,
        rows: np.ndarray,
        block: int | None,
        firsts: list[np.ndarray] | None,
        popularity_V: np.ndarray | None,
    ) -> tuple[dict[str, float], TargetRanks]:
        targets, users = held_out.targets[rows], held_out.users[rows]
        was_training = model.training
        model.eval()
        repeated_n, rows_n = [], None
        new_n = np.full(len(targets), not held_out.as_sets)
        new_n[begins_of_runs(users)] = True
        if user_table_of(model) is not None:
            assert self.trained is not None
            rows_n = training_rows(self.trained, histories)
        try:
            scorer = Scorer(model, self, len(targets), popularity_V)
            batches = history_batches(
                histories,
                packer=self.packer,
                max_len=self.max_len,
                size=scorer.block_users,
                masked=self.masked,
                first=block or 0,
            )
            for batch in batches if block is None else islice(batches, 1):
                users_S = batch.users_S.numpy()
                if rows_n is not None:
                    batch = replace(batch, user_rows_S=torch.from_numpy(rows_n[users_S]))
                wanted_S = targets[users_S].astype(np.int64)
                seen = _Seen(histories, users_S)
                flat = torch.from_numpy(seen.rows * scorer.columns + seen.items)
                # Else nothing is read before the last block, so that a GPU never waits for us.
                ranks = scorer.rank(batch, torch.from_numpy(wanted_S), flat)
                if firsts is not None:
                    firsts.append(ranks.items_Sk[:, 0].cpu().numpy().copy())
                scorer.keep(ranks, new_n[users_S])
                del ranks
                repeated_n.append(seen.have(wanted_S))
        finally:
            model.train(was_training)
        if not bool(scorer.finite):
            raise Diverged("the scores are not finite numbers")
        above, ties = scorer.kept()
        repeated = np.concatenate(repeated_n)
        missed = repeated if self.exclude_seen else None
        first = 0 if block is None else block * scorer.block_users
        users = users[first : first + len(above)]
        groups = users if held_out.as_sets else None
        metrics = ranking_metrics(above, ties, missed, self.ks, groups=groups) | scorer.coverage()
        if scorer.lists:
            metrics |= scorer.lists.metrics(self.ks, targets[first : first + len(above)])
        metrics |= {
            "num_users": len(np.unique(users)),
            "num_targets": len(above),
            "num_repeated": int(repeated.sum()),
        }
        ranks = user_ranks(above, ties, missed, users=users, one_list=held_out.as_sets)
        return metrics, ranks


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
