"""In-batch draws are targets of the step's other sequences, each as likely."""

import numpy as np
import pytest

from scalelab.batches.loader import Loader
from scalelab.core.errors import SpecError
from scalelab.core.spec import BatchSpec, NegativesSpec

# Every user has items of its own, so that a draw tells whose target it is.
HISTORIES = [[10, 11, 12, 13], [20, 21, 21], [30, 31], [40, 41, 42, 43, 44, 45, 46]]


def draw(make, sequences, size=10, train_on="all", **options):
    made = Loader(
        make.histories_of(sequences),
        num_items=50,
        batch=BatchSpec(size=size, max_len=3),
        negatives=(NegativesSpec(name="in_batch", **options),),
        seed=2,
        train_on=train_on,
    )
    return list(made.epoch(0))


@pytest.mark.parametrize("train_on", ["all", "last"])
@pytest.mark.parametrize("per", ["position", "sequence", "batch"])
def test_draws_are_the_other_targets_of_the_step_alike(make, train_on, per):
    for batch in draw(make, HISTORIES, 3, train_on, per=per, num_negatives=20_000):
        (source,) = batch.negatives
        assert source.exponent == 1
        targets, sequence = batch.targets_N.numpy(), batch.sequence_N.numpy()
        owner = {"position": sequence, "sequence": np.arange(len(batch.users_S)), "batch": [-1]}
        for own, ids in zip(owner[per], source.ids.reshape(-1, 20_000).numpy(), strict=True):
            others = targets[sequence != own]
            if len(others) == 0:
                assert (ids == 0).all()
                continue
            items, counts = np.unique(others, return_counts=True)
            drawn = np.array([(ids == item).sum() for item in items])
            assert drawn.sum() == len(ids)
            expected = len(ids) * counts / len(others)
            assert (np.abs(drawn - expected) < 5 * np.sqrt(expected)).all()


def test_rejection_takes_the_targets_that_the_user_does_not_have(make):
    sequences = [[1, 2, 3, 4], [1, 2], [1, 3], [9, 9], [8, 5]]
    (batch,) = draw(make, sequences, per="sequence", num_negatives=5000, reject=True)
    drawn = dict(zip(batch.users_S.tolist(), batch.negatives[0].ids.numpy(), strict=True))
    assert set(drawn[0]) == {5, 9}
    assert set(drawn[1]) == {3, 4, 5, 9}
    assert set(drawn[3]) == {2, 3, 4, 5}


def test_few_targets_left_among_many_are_as_likely(make):
    """Nearly every draw is repeated until the source looks at what is left."""
    mine = list(range(1, 21))
    others = [[*mine[i % 17 : i % 17 + 4]] for i in range(300)] + [[1, 47], [2, 48]]
    batches = draw(make, [mine, *others], 400, per="sequence", num_negatives=2000, reject=True)
    (batch,) = batches
    drawn = dict(zip(batch.users_S.tolist(), batch.negatives[0].ids.numpy(), strict=True))
    assert set(drawn[0]) == {47, 48}
    assert 850 < (drawn[0] == 47).sum() < 1150


def test_places_stay_empty_where_the_user_has_all_targets(make):
    sequences = [[1, 2, 3, 4], [1, 2], [1, 3]]
    (batch,) = draw(make, sequences, per="sequence", num_negatives=5, reject=True)
    drawn = dict(zip(batch.users_S.tolist(), batch.negatives[0].ids.numpy(), strict=True))
    assert set(drawn[0]) == {0}
    assert set(drawn[2]) == {2, 4}


def test_steps_of_one_sequence_are_refused(make):
    with pytest.raises(SpecError, match="one sequence"):
        draw(make, HISTORIES, size=1)
    with pytest.raises(SpecError, match="one sequence"):
        draw(make, HISTORIES[:1])
