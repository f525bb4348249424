"""Rank the catalog for histories that a kept model has not seen, in blocks of users and items."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from scalelab.batches.histories import HistoryBatch, history_batches
from scalelab.batches.moving import moved
from scalelab.core.errors import DataError
from scalelab.datasets.interactions import Histories, Interactions
from scalelab.models import EncoderInput
from scalelab.models.users import user_table_of
from scalelab.train.kept_model import KeptModel
from scalelab.train.precision import products_in

__all__ = ["KnownItems", "TopLists", "known_items", "known_users", "top_lists"]

# Scores that are held at once, in bytes: they bound the items of a block.
_SCORES = 2**25
_USERS = 256


class TopLists(NamedTuple):
    """The lists of a block of users, one row a place: index of the user, place from 1, row of the
    item table, score.
    """

    user_n: np.ndarray
    rank_n: np.ndarray
    item_n: np.ndarray
    score_n: np.ndarray


@dataclass(frozen=True, kw_only=True)
class KnownItems:
    """The item of the model for each item of the histories (index 0 is padding), 0 where there is
    none, and how many items the model does not know.
    """

    item_of: np.ndarray
    num_unknown: int


def known_items(kept: KeptModel, interactions: Interactions) -> KnownItems:
    """Finds the items of the histories in the model by their own ids: as numbers where both are
    numbers, else as text.
    """
    find = interactions.find_original_ids
    theirs = np.arange(1, interactions.num_items + 1) if find is None else find()
    items = _rows_of(theirs, kept.item_ids)
    item_of = np.concatenate([[0], items]).astype(np.int32)
    return KnownItems(item_of=item_of, num_unknown=int((items == 0).sum()))


def known_users(kept: KeptModel, interactions: Interactions) -> np.ndarray | None:
    """The row of each user of the histories in the model's table of users, found by their own ids;
    0 for one that it does not know. None where the model has no such table.

    Without ids on either side nobody is known: a place in a file is not a user.
    """
    if user_table_of(kept.model) is None:
        return None
    find = interactions.find_user_ids
    if find is None or kept.user_ids is None:
        return np.zeros(interactions.num_users, np.int32)
    return _rows_of(find(), kept.user_ids).astype(np.int32)


def _rows_of(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """The place of each id among `ours`, from 1; 0 where it is not there."""
    if theirs.dtype.kind not in "iu" or ours.dtype.kind not in "iu":
        theirs, ours = (np.array([str(one) for one in ids.tolist()]) for ids in (theirs, ours))
    order = np.argsort(ours, kind="stable")
    places = np.minimum(np.searchsorted(ours, theirs, sorter=order), len(ours) - 1)
    found = ours[order[places]] == theirs
    return np.where(found, order[places] + 1, 0)


@torch.no_grad()
def top_lists(
    kept: KeptModel,
    interactions: Interactions,
    known: KnownItems,
    *,
    k: int,
    include_seen: bool,
    user_rows: np.ndarray | None = None,
    block_users: int = _USERS,
    score_bytes: int = _SCORES,
) -> Iterator[TopLists]:
    """The `k` items with the highest scores for each user with an item that the model knows.

    Equal scores come in the order of the item table. Lists are shorter where fewer items are left.
    At most `block_users` users and `score_bytes` of scores are held at once. `user_rows` are what
    `known_users` found.
    """
    for first in range(0, interactions.num_users, block_users):
        histories = _block(interactions, known, first, block_users)
        with products_in("fp32"):
            for batch in history_batches(
                histories,
                packer=kept.evaluator.packer,
                max_len=kept.evaluator.max_len,
                size=block_users,
                masked=kept.evaluator.masked,
            ):
                seen = None if include_seen else _seen(histories, batch.users_S.numpy())
                if user_rows is not None:
                    rows_S = user_rows[batch.users_S.numpy() + first]
                    batch = replace(batch, user_rows_S=torch.from_numpy(rows_S))
                values_Sk, items_Sk = _top(kept, batch, seen, k=k, score_bytes=score_bytes)
                yield _lists(batch.users_S.numpy() + first, values_Sk, items_Sk)


def _block(interactions: Interactions, known: KnownItems, first: int, number: int) -> Histories:
    """Some users with the items that the model knows, numbered as the model numbers them."""
    offsets = interactions.offsets[first : first + number + 1]
    items = known.item_of[interactions.item_ids[offsets[0] : offsets[-1]]]
    kept = items > 0
    ends = np.concatenate([[0], np.cumsum(kept)])[offsets - offsets[0]]
    return Histories(item_ids=items[kept], starts=ends[:-1], ends=ends[1:])


def _seen(histories: Histories, users_S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the block and the items that these users have seen, by item."""
    rows = np.repeat(np.arange(len(users_S)), histories.lengths[users_S])
    items = np.concatenate([histories[user] for user in users_S]).astype(np.int64)
    order = np.argsort(items, kind="stable")
    return rows[order], items[order]


def _top(
    kept: KeptModel,
    batch: HistoryBatch,
    seen: tuple[np.ndarray, np.ndarray] | None,
    *,
    k: int,
    score_bytes: int,
) -> tuple[Tensor, Tensor]:
    table_VD = kept.model.item_table_VD
    assert isinstance(table_VD, Tensor)
    rows_S = () if batch.user_rows_S is None else (batch.user_rows_S,)
    ids_BL, segments_BL, positions_BL, last_S, *rows_S = moved(
        (batch.item_ids_BL, batch.segments_BL, batch.positions_BL, batch.last_S, *rows_S),
        table_VD.device,
    )
    hidden_BLD = kept.model(EncoderInput(ids_BL, segments_BL, positions_BL, len(last_S), *rows_S))
    hidden_SD = hidden_BLD.reshape(-1, hidden_BLD.size(-1)).index_select(0, last_S)
    num_rows = table_VD.size(0)
    width = max(k, score_bytes // (4 * len(last_S)), 1)
    values_Sk = hidden_SD.new_empty(len(last_S), 0)
    items_Sk = torch.empty(len(last_S), 0, dtype=torch.int64, device=table_VD.device)
    # Row 0 is padding.
    for first in range(1, num_rows, width):
        items_WD = table_VD[first : first + width]
        scores = kept.evaluator.scores
        scores_SW = hidden_SD @ items_WD.T if scores is None else scores(hidden_SD, items_WD)
        scores_SW = scores_SW.float()
        if bool(scores_SW.isnan().any()):
            raise DataError("the model's scores are not numbers", "keep a model that has trained")
        if seen is not None:
            begin, end = np.searchsorted(seen[1], [first, first + len(items_WD)])
            rows, items = (torch.from_numpy(part[begin:end]) for part in seen)
            rows, items = rows.to(table_VD.device), items.to(table_VD.device)
            scores_SW[rows, items - first] = -torch.inf
        values, places = _best(scores_SW, min(k, scores_SW.size(1)))
        values_Sk = torch.cat([values_Sk, values], 1)
        items_Sk = torch.cat([items_Sk, places + first], 1)
        # Earlier items stand before later ones, so that a stable sort keeps their order in a tie.
        values_Sk, order = values_Sk.sort(dim=1, descending=True, stable=True)
        values_Sk, items_Sk = values_Sk[:, :k], items_Sk.gather(1, order[:, :k])
    return values_Sk, items_Sk


def _best(scores_SW: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """The k largest, the earlier first where equal: topk alone would take any of those."""
    least_S1 = scores_SW.topk(k, dim=1).values[:, -1:]
    above_SW, level_SW = scores_SW > least_S1, scores_SW == least_S1
    missing_S1 = k - above_SW.sum(1, keepdim=True)
    chosen_SW = above_SW | (level_SW & (level_SW.cumsum(1, dtype=torch.int32) <= missing_S1))
    places_Sk = chosen_SW.nonzero()[:, 1].reshape(len(scores_SW), k)
    values_Sk, order_Sk = scores_SW.gather(1, places_Sk).sort(dim=1, descending=True, stable=True)
    return values_Sk, places_Sk.gather(1, order_Sk)


def _lists(users_S: np.ndarray, values_Sk: Tensor, items_Sk: Tensor) -> TopLists:
    values, items = values_Sk.cpu().numpy(), items_Sk.cpu().numpy()
    # What was seen has no score, and is nobody's recommendation.
    there = np.isfinite(values)
    rows, places = np.nonzero(there)
    return TopLists(
        user_n=users_S[rows].astype(np.int64),
        rank_n=places + 1,
        item_n=items[there],
        score_n=values[there],
    )
