"""Batches for models that guess masked items: which are masked, and what is left to see."""

from collections import Counter

import numpy as np
import pytest

from scalelab.batches.histories import block_shapes, history_batches
from scalelab.batches.loader import Loader
from scalelab.core import plugins
from scalelab.core.spec import BatchSpec

MASK = -1
NUM_ITEMS, MAX_LEN = 50, 10
RNG = np.random.default_rng(5)
# `prefixes` has samples of the next item only.
PACKERS = tuple(name for name in plugins.available("packers") if name != "prefixes")
SEQUENCES = [RNG.integers(1, NUM_ITEMS + 1, n).tolist() for n in RNG.integers(0, 20, 200)]


def loader(make, *, packer="first_fit", size=16, mask_prob=0.3, **options):
    batch = BatchSpec(packer=packer, size=size, max_len=MAX_LEN)
    histories = make.histories_of(SEQUENCES)
    return Loader(
        histories, num_items=NUM_ITEMS, batch=batch, seed=7, mask_prob=mask_prob, **options
    )


def of_users(loaded, epoch=1):
    """Of each user: the row as the model sees it, and {place: target}."""
    found = {}
    for step, batch in enumerate(loaded.epoch(epoch)):
        assert loaded.shape(epoch, step) == batch.shape
        ids, segments = batch.item_ids_BL.numpy().ravel(), batch.segments_BL.numpy().ravel()
        positions = batch.positions_BL.numpy().ravel()
        for s, user in enumerate(batch.users_S.tolist()):
            mine = batch.sequence_N.numpy() == s
            at = batch.valid_N.numpy()[mine]
            assert (segments[at] == s + 1).all()
            targets = dict(
                zip(positions[at].tolist(), batch.targets_N.numpy()[mine].tolist(), strict=True)
            )
            assert user not in found
            found[user] = ids[segments == s + 1].tolist(), targets
    return found


@pytest.mark.parametrize("packer", PACKERS)
def test_targets_are_masked_and_all_else_is_seen(packer, make):
    found = of_users(loader(make, packer=packer))
    assert set(found) == {u for u, s in enumerate(SEQUENCES) if len(s) >= 2}
    for user, (seen, targets) in found.items():
        whole = SEQUENCES[user][-MAX_LEN:]
        assert len(targets) == max(1, round(0.3 * len(whole)))
        wanted = [MASK if place in targets else item for place, item in enumerate(whole)]
        assert seen == wanted
        assert all(whole[place] == item for place, item in targets.items())


def test_masks_depend_on_seed_and_epoch_alone(make):
    first = of_users(loader(make))
    assert of_users(loader(make, packer="pad_left", size=7, threads=3)) == first
    assert of_users(loader(make), epoch=2) != first


@pytest.mark.slow
def test_every_place_is_masked_equally_often(make):
    loaded = loader(make)
    (user,) = [u for u, s in enumerate(SEQUENCES) if len(s) >= MAX_LEN][:1]
    counts = Counter(place for epoch in range(300) for place in of_users(loaded, epoch)[user][1])
    # 300 epochs at 3 of 10: 90 each, and a deviation of 8.
    assert set(counts) == set(range(MAX_LEN))
    assert all(90 - 4 * 8 < count < 90 + 4 * 8 for count in counts.values())


def test_the_last_item_alone_is_masked_where_asked(make):
    for user, (seen, targets) in of_users(loader(make, train_on="last")).items():
        whole = SEQUENCES[user][-MAX_LEN:]
        assert targets == {len(whole) - 1: whole[-1]}
        assert seen == [*whole[:-1], MASK]


@pytest.mark.parametrize("packer", PACKERS)
def test_now_and_then_the_last_item_alone_is_masked(packer, make):
    loaded = loader(make, packer=packer, mask_last_prob=0.25)
    alone, all_of_them = 0, 0
    for epoch in range(6):
        # `of_users` compares the sizes of each step with those known beforehand.
        for user, (seen, targets) in of_users(loaded, epoch).items():
            whole = SEQUENCES[user][-MAX_LEN:]
            wanted = [MASK if place in targets else item for place, item in enumerate(whole)]
            assert seen == wanted
            if round(0.3 * len(whole)) > 1:  # else one item is masked anyway
                is_last = targets == {len(whole) - 1: whole[-1]}
                assert is_last or len(targets) == round(0.3 * len(whole))
                alone, all_of_them = alone + is_last, all_of_them + 1
    spread = (0.25 * 0.75 / all_of_them) ** 0.5
    assert abs(alone / all_of_them - 0.25) < 4 * spread


def test_the_last_item_of_every_user_is_masked_at_a_probability_of_one(make):
    loaded = loader(make, mask_last_prob=1.0)
    assert of_users(loaded) == of_users(loader(make, train_on="last"))
    assert loaded.plan(1).is_last.all()


def test_the_largest_step_counts_the_sequences_that_mask_one_item(make):
    loaded = loader(make, mask_last_prob=0.5)
    sizes = [loaded.shape(e, s) for e in range(4) for s in range(loaded.num_steps)]
    most = max(size.num_positions for size in sizes)
    assert max(choice.shape.num_positions for choice in loaded.largest_steps(4)) == most
    plain = loader(make)
    steps = range(plain.num_steps)
    assert most < max(plain.shape(e, s).num_positions for e in range(4) for s in steps)


@pytest.mark.parametrize("packer", PACKERS)
def test_evaluation_asks_for_a_masked_place_behind_the_history(packer, make):
    histories = make.histories_of(SEQUENCES)
    seen = {}
    how = {"packer": packer, "max_len": MAX_LEN, "masked": True}
    shapes = block_shapes(histories.lengths, size=16, **how)
    for batch, shape in zip(history_batches(histories, size=16, **how), shapes, strict=True):
        users = batch.users_S.numpy()
        assert len(batch.item_ids_BL) == shape.num_rows
        assert shape.num_sequences == len(users)
        assert shape.num_seen == histories.lengths[users].sum()
        assert shape.num_users == (histories.lengths > 0).sum()
        ids, segments = batch.item_ids_BL.numpy(), batch.segments_BL.numpy()
        assert (ids.ravel()[batch.last_S.numpy()] == MASK).all()
        for s, user in enumerate(users.tolist()):
            rows, columns = np.nonzero(segments == s + 1)
            assert batch.last_S[s] == rows[0] * MAX_LEN + columns[-1]
            positions = batch.positions_BL.numpy()[rows, columns].tolist()
            assert positions == list(range(len(columns)))
            seen[user] = ids[rows, columns].tolist()
    assert seen == {u: [*s[-(MAX_LEN - 1) :], MASK] for u, s in enumerate(SEQUENCES) if s}
