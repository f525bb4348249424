"""The batches of pre-training hide what is to be predicted, and repeat by seed, epoch and user."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scalelab.batches.pretraining import PretrainingBatch, PretrainingLoader, pretraining_steps
from scalelab.core.spec import BatchSpec
from scalelab.datasets.interactions import Histories

NUM_ITEMS = 60
Lists = list[list[int]]
LISTS = st.lists(
    st.lists(st.integers(1, NUM_ITEMS - 20), min_size=0, max_size=12), min_size=1, max_size=9
).filter(lambda lists: any(len(items) > 1 for items in lists))


def histories(lists: Lists, held_out: int = 0) -> Histories:
    """The lists, each followed by `held_out` items that belong to no training history."""
    whole = [[*items, *[NUM_ITEMS] * held_out] for items in lists]
    starts = np.cumsum([0, *map(len, whole[:-1])])
    ends = starts + [len(items) for items in lists]
    items = np.concatenate([np.array(items, np.int32) for items in whole])
    return Histories(item_ids=items, starts=starts, ends=ends)


def batches(
    lists: Lists,
    *,
    held_out: int = 0,
    mask_prob: float = 0.3,
    packer: str = "first_fit",
    epoch: int = 0,
    max_len: int = 7,
    seed: int = 11,
    every_prefix: bool = False,
) -> list[PretrainingBatch]:
    loader = PretrainingLoader(
        histories(lists, held_out),
        num_items=NUM_ITEMS,
        batch=BatchSpec(packer=packer, size=4, max_len=max_len),
        seed=seed,
        mask_prob=mask_prob,
        every_prefix=every_prefix,
    )
    return list(loader.epoch(epoch))  # pyright: ignore[reportReturnType]


def by_user(found: list[PretrainingBatch]) -> dict[int, dict[str, list[int]]]:
    """What each user has in each of the four rows, in order, and the choices."""
    return {user: rows for (user, _), rows in by_sample(found).items()}


def by_sample(found: list[PretrainingBatch]) -> dict[tuple[int, int], dict[str, list[int]]]:
    """The same by user and number of items: each sample comes once."""
    users: dict[tuple[int, int], dict[str, list[int]]] = {}
    for batch in found:
        for s, user in enumerate(batch.users_S.tolist()):
            own = batch.sequence_N == s
            places = batch.valid_N[own]
            of_user = {
                name: getattr(batch, name).view(-1)[places].tolist()
                for name in ("item_ids_BL", "context_BL", "segment_BL", "other_BL")
            }
            of_user["targets"] = batch.targets_N[own].tolist()
            of_user["masked"] = batch.masked_N[own].tolist()
            assert int(batch.last_S[s]) == int(places[-1])
            of_user["negatives"] = batch.negatives[0].ids[own, 0].tolist()
            key = (user, len(of_user["targets"]))
            assert key not in users
            users[key] = of_user
    return users


@given(LISTS, st.sampled_from(["first_fit", "best_fit", "pad_left"]), st.integers(0, 3))
def test_what_is_hidden_is_hidden_and_the_rest_is_as_it_was(
    lists: Lists, packer: str, epoch: int
) -> None:
    found = by_user(batches(lists, packer=packer, epoch=epoch, held_out=2))
    assert set(found) == {user for user, items in enumerate(lists) if len(items) > 1}
    for user, rows in found.items():
        check_rows(rows, lists[user][-7:], lists)


@given(LISTS, st.sampled_from(["first_fit", "best_fit", "pad_left"]), st.integers(0, 3))
def test_every_prefix_of_two_items_or_more_is_a_sample(
    lists: Lists, packer: str, epoch: int
) -> None:
    found = by_sample(batches(lists, packer=packer, epoch=epoch, held_out=2, every_prefix=True))
    wanted = {
        (user, length)
        for user, items in enumerate(lists)
        for length in range(2, 1 + min(len(items), 7))
    }
    assert set(found) == wanted
    for (user, length), rows in found.items():
        check_rows(rows, lists[user][-7:][:length], lists)


def check_rows(rows: dict[str, list[int]], items: list[int], lists: Lists) -> None:
    """Of one sample, which has these items."""
    training = [item for each in lists for item in each]
    assert rows["targets"] == items
    hidden = [-1 if masked else item for masked, item in zip(rows["masked"], items, strict=True)]
    assert rows["item_ids_BL"] == hidden
    assert rows["masked"][-1], "the last item is always masked"
    inside = [context < 0 for context in rows["context_BL"]]
    assert 1 <= sum(inside) <= max(1, len(items) // 2)
    assert inside == sorted(inside[: inside.index(True)]) + [True] * sum(inside) + [False] * (
        len(items) - inside.index(True) - sum(inside)
    ), "the segment is in one piece"
    for i, is_inside in enumerate(inside):
        assert rows["context_BL"][i] == (-1 if is_inside else items[i])
        assert rows["segment_BL"][i] == (items[i] if is_inside else -1)
        assert (rows["other_BL"][i] > 0) == is_inside
    other = [item for item in rows["other_BL"] if item > 0]
    windows = [training[i : i + len(other)] for i in range(len(training))]
    assert other in windows, "held-out items are nobody's segment"


def test_choices_depend_on_seed_epoch_and_user_alone() -> None:
    lists = [[i + 1, i + 2, i + 3, i + 4, i + 5] for i in range(11)]
    packed, padded = (by_user(batches(lists, packer=name)) for name in ("first_fit", "pad_left"))
    assert packed == padded
    assert packed != by_user(batches(lists, epoch=1))
    assert packed != by_user(batches(lists, seed=12))
    again = batches(lists)
    for one, two in zip(again, batches(lists), strict=True):
        for field in fields(PretrainingBatch):
            if field.name != "negatives":
                assert torch.equal(getattr(one, field.name), getattr(two, field.name))
        assert torch.equal(one.negatives[0].ids, two.negatives[0].ids)


def test_prefixes_of_a_user_have_choices_and_negatives_of_their_own() -> None:
    lists = [list(range(1, 8)) for _ in range(40)]
    found = by_sample(batches(lists, every_prefix=True))
    assert found == by_sample(batches(lists, every_prefix=True, packer="pad_left"))
    assert found != by_sample(batches(lists, every_prefix=True, epoch=1))
    for name in ("item_ids_BL", "context_BL", "negatives"):
        # The first four items of each prefix of five to seven: seldom alike.
        same = [
            found[user, one][name][:4] == found[user, other][name][:4]
            for user in range(40)
            for one, other in ((5, 6), (6, 7))
        ]
        assert np.mean(same) < 0.6, name


def test_a_masked_item_decides_nothing_that_the_encoder_sees() -> None:
    lists = [[1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11, 12]]
    changed = [[*items[:-1], 40] for items in lists]  # the last item, which is always masked
    for one, two in zip(batches(lists), batches(changed), strict=True):
        assert torch.equal(one.item_ids_BL, two.item_ids_BL)
        assert not torch.equal(one.targets_N, two.targets_N)


def test_a_hidden_segment_decides_nothing_in_its_context() -> None:
    lists = [[1, 2, 3, 4, 5, 6]]
    before = by_user(batches(lists))[0]
    changed = [
        40 if context < 0 else item
        for context, item in zip(before["context_BL"], lists[0], strict=True)
    ]
    assert by_user(batches([changed]))[0]["context_BL"] == before["context_BL"]


def test_items_are_masked_with_the_probability() -> None:
    lists = [list(range(1, 13)) for _ in range(300)]
    flags = [rows["masked"][:-1] for rows in by_user(batches(lists, max_len=12)).values()]
    assert np.mean(flags) == pytest.approx(0.3, abs=0.025)
    everything = by_user(batches(lists, max_len=12, mask_prob=1.0))
    assert all(all(rows["masked"]) for rows in everything.values())


def test_negatives_are_items_that_the_user_does_not_have() -> None:
    lists = [list(range(1, 30)), list(range(20, 45))]
    for batch in batches(lists, max_len=30):
        for n, sequence in enumerate(batch.sequence_N.tolist()):
            user = int(batch.users_S[sequence])
            assert int(batch.negatives[0].ids[n, 0]) not in lists[user]


@pytest.mark.parametrize("every_prefix", [False, True])
def test_the_planned_shapes_are_those_of_the_batches(every_prefix: bool) -> None:
    lists = [list(range(1, 2 + length)) for length in (1, 3, 9, 2, 5, 11, 4, 2, 6)]
    batch = BatchSpec(packer="first_fit", size=4, max_len=7)
    lengths = np.array([len(items) for items in lists])
    planned = pretraining_steps(lengths, batch, seed=11, every_prefix=every_prefix)
    for epoch in range(2):
        shapes = [planned.shape(epoch, step) for step in range(planned.num_steps)]
        found = batches(lists, epoch=epoch, every_prefix=every_prefix)
        assert shapes == [each.shape for each in found]


def test_moving_a_batch_keeps_its_kind_and_its_fields() -> None:
    (batch, *_) = batches([[1, 2, 3], [4, 5]])
    moved = batch.to("cpu")
    assert isinstance(moved, PretrainingBatch)
    assert torch.equal(moved.other_BL, batch.other_BL)
