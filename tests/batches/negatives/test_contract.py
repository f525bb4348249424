"""Every source: ids in range, right shapes, and nothing of the user's own where it rejects."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.batches.loader import Loader
from scalelab.core import plugins
from scalelab.core.spec import BatchSpec, NegativesSpec
from scalelab.datasets.clock import Clock

SOURCES = plugins.available("negatives")
CASES = [
    (name, per, reject)
    for name in SOURCES
    for per in ("position", "sequence", "batch")
    for reject in (False, True)
    if not (per == "batch" and reject)
]


@pytest.mark.parametrize(("name", "per", "reject"), CASES)
@pytest.mark.parametrize("train_on", ["all", "last"])
@given(data=st.data())
@settings(deadline=None, max_examples=15)
def test_draws_keep_their_promises(name, per, reject, train_on, make, data):
    problem = data.draw(make.problems())
    # Two items that nobody has and two that one user has, so that something is left to draw.
    num_items = problem.num_items + 4
    problem.sequences.append([num_items, num_items - 1])
    histories = make.histories_of(problem.sequences)
    made = Loader(
        histories,
        num_items=num_items,
        batch=BatchSpec(size=problem.size, max_len=problem.max_len),
        negatives=(NegativesSpec(name=name, num_negatives=4, per=per, reject=reject),),
        seed=problem.seed,
        train_on=train_on,
        clock=Clock(np.arange(len(histories.item_ids)), 10),
    )
    for batch in made.epoch(problem.epoch):
        (drawn,) = batch.negatives
        users, targets = batch.users_S.numpy(), batch.targets_N.numpy()
        groups = {"position": len(targets), "sequence": len(users)}
        assert drawn.per == per
        assert drawn.ids.shape == ((groups[per], 4) if per in groups else (4,))
        ids = drawn.ids.numpy()
        assert ids.dtype == np.int32
        # Only other targets of the step can be drawn from the batch, and there may be none.
        assert ids.min() >= (0 if name == "in_batch" else 1)
        assert ids.max() <= num_items
        if reject:
            of_group = users[batch.sequence_N.numpy()] if per == "position" else users
            for user, row in zip(of_group, ids, strict=True):
                assert not set(row) & set(problem.sequences[user])


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_names_its_exponent_or_its_own_law(name):
    source = plugins.load("negatives", name)()
    assert callable(source.log_shares) if source.exponent is None else source.exponent >= 0


def test_a_history_longer_than_a_row_is_rejected_whole(make):
    history = list(range(1, 31))
    for name in ("uniform", "popularity"):
        made = Loader(
            make.histories_of([history, [31, 32, 33, 1, 2]]),
            num_items=33,
            batch=BatchSpec(size=2, max_len=3),
            negatives=(NegativesSpec(name=name, num_negatives=50, reject=True),),
            seed=0,
        )
        batch = made.batch(0, 0)
        mine = batch.users_S.numpy()[batch.sequence_N.numpy()] == 0
        assert set(batch.negatives[0].ids.numpy()[mine].ravel()) == {31, 32, 33}
