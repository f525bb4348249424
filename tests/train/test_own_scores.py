"""A loss that ranks by its own scores is evaluated by them, in blocks, and predicted with them."""

from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch.nn import functional as F

from scalelab.batches.histories import HistoryBatch
from scalelab.core.errors import SpecError
from scalelab.losses import own_scores
from scalelab.train.evaluate import Evaluator
from scalelab.train.scoring import Scorer

NUM_ITEMS, DEPTH, USERS = 1500, 8, 6


class Known(torch.nn.Module):
    """A "model" whose hidden states are given."""

    def __init__(self) -> None:
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        table_VD = torch.randn(NUM_ITEMS + 1, DEPTH, generator=draw)
        table_VD *= torch.rand(NUM_ITEMS + 1, 1, generator=draw) * 9  # lengths that change ranks
        self.item_table_VD = torch.nn.Parameter(table_VD)
        self.hidden_SD = torch.randn(USERS, DEPTH, generator=draw)

    def forward(self, inputs):
        return self.hidden_SD[:, None]


@dataclass(frozen=True)
class Cosine:
    widths: list

    needs_negatives: ClassVar[bool] = False

    def scores(self, hidden_SD, items_WD):
        self.widths.append(len(items_WD))
        return F.normalize(hidden_SD, dim=-1) @ F.normalize(items_WD, dim=-1).T


def ranks(model, scores, targets_S):
    settings = Evaluator(
        num_items=NUM_ITEMS, max_len=1, exclude_seen=False, ks=(1, 5, 100), scores=scores
    )
    ones = torch.ones(USERS, 1, dtype=torch.int32)
    batch = HistoryBatch(
        item_ids_BL=ones,
        segments_BL=ones,
        positions_BL=ones - 1,
        last_S=torch.arange(USERS),
        users_S=torch.arange(USERS, dtype=torch.int32),
    )
    with torch.no_grad():
        scorer = Scorer(model, settings, USERS)
        scorer.scores.width = 400  # several blocks of items, the last one smaller
        return scorer.rank(batch, targets_S, torch.empty(0, dtype=torch.int64))


def test_ranks_are_those_of_the_loss_whatever_the_blocks() -> None:
    model, loss = Known(), Cosine([])
    with torch.no_grad():
        expected_SV = F.normalize(model.hidden_SD, dim=-1) @ F.normalize(model.item_table_VD).T
        inner_SV = model.hidden_SD @ model.item_table_VD.T
    expected_SV[:, 0] = inner_SV[:, 0] = -torch.inf
    targets_S = expected_SV.argsort(dim=1, descending=True)[:, 3]
    found = ranks(model, own_scores(loss), targets_S)
    assert found.above_S.tolist() == [3] * USERS
    assert loss.widths == [400, 400, 400, 301]
    by_inner = (inner_SV > inner_SV.gather(1, targets_S[:, None])).sum(1)
    assert by_inner.tolist() != [3] * USERS  # the inner product ranks otherwise
    assert ranks(model, None, targets_S).above_S.tolist() == by_inner.clamp(max=100).tolist()


def test_scores_of_another_shape_are_refused() -> None:
    with pytest.raises(SpecError, match="shape"):
        ranks(Known(), lambda hidden, items: (hidden @ items.T).T, torch.ones(USERS).long())
