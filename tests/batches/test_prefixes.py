"""Laws of the samples that are prefixes: every target once, with all that came before it."""

from collections import Counter, defaultdict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.batches.batch import BatchShape
from scalelab.batches.loader import Loader
from scalelab.batches.samples import Samples
from scalelab.batches.steps import Steps
from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import BatchSpec, NegativesSpec

SOURCES = tuple(
    NegativesSpec(name=name, num_negatives=3, per=per)
    for name in ("uniform", "popularity", "in_batch")
    for per in ("position", "sequence", "batch")
)


def settings_of(problem, packer="prefixes"):
    batch = BatchSpec(packer=packer, size=problem.size, max_len=problem.max_len)
    return {"batch": batch, "seed": problem.seed}


def loader(problem, packer="prefixes", **options):
    made = settings_of(problem, packer) | {"num_items": problem.num_items} | options
    return Loader(problem.histories, **made)


def samples_of(batch):
    """User, inputs and target of each sequence of a step."""
    ids, segments = batch.item_ids_BL.numpy(), batch.segments_BL.numpy()
    assert batch.sequence_N.tolist() == list(range(len(batch.users_S)))
    for s, user in enumerate(batch.users_S.tolist()):
        at = batch.valid_N[s].item()
        own = np.flatnonzero(segments.ravel() == s + 1)
        assert at == own[-1], "the target is not behind the last input"
        yield user, tuple(ids.ravel()[own].tolist()), batch.targets_N[s].item()


@given(data=st.data())
@settings(deadline=None, max_examples=60)
def test_each_item_but_the_first_is_a_target_once_with_what_came_before_it(make, data):
    problem = data.draw(make.problems())
    made = loader(problem)
    loaded = Counter(s for batch in made.epoch(problem.epoch) for s in samples_of(batch))
    expected = Counter(
        (user, tuple(history[max(0, t - problem.max_len) : t]), history[t])
        for user, history in enumerate(problem.sequences)
        for t in range(1, len(history))
    )
    assert loaded == expected
    assert made.num_sequences == expected.total()


@given(data=st.data())
@settings(deadline=None, max_examples=30)
def test_steps_rows_and_positions_are_known_from_lengths_alone(make, data):
    problem = data.draw(make.problems())
    made = loader(problem)
    steps = Steps(problem.histories.lengths, **settings_of(problem))
    shapes = [batch.shape for batch in made.epoch(problem.epoch)]
    targets = sum(max(0, len(history) - 1) for history in problem.sequences)
    assert len(shapes) == steps.num_steps == made.num_steps == -(-targets // problem.size)
    assert [steps.shape(problem.epoch, t) for t in range(steps.num_steps)] == shapes
    assert sum(shape.num_positions for shape in shapes) == targets
    longest = made._shape(made.longest_plan(), 0)
    assert all(longest.num_rows >= shape.num_rows for shape in shapes)
    found = {choice.shape for choice in made.largest_steps(problem.epoch + 1)}
    covers = [
        any(all(a >= b for a, b in zip(one, shape, strict=True)) for one in found)
        for shape in shapes
    ]
    assert all(covers)


@pytest.fixture
def problem(make):
    rng = np.random.default_rng(3)
    sequences = [rng.integers(1, 51, n).tolist() for n in rng.integers(0, 20, 100)]
    return SimpleNamespace(
        sequences=sequences,
        histories=make.histories_of(sequences),
        num_items=50,
        max_len=20,
        size=16,
        seed=7,
    )


def draws_by_target(made, source):
    """Of each user and place of a target its negatives."""
    found = {}
    for batch in made.epoch(1):
        users = batch.users_S.numpy()[batch.sequence_N.numpy()].tolist()
        places = batch.positions_BL.numpy().ravel()[batch.valid_N.numpy()].tolist()
        ids = batch.negatives[source].ids.tolist()
        found.update(zip(zip(users, places, strict=True), map(tuple, ids), strict=True))
    return found


@pytest.mark.parametrize("source", [0, 3])
def test_a_target_has_the_negatives_that_it_has_in_a_whole_history(problem, source):
    whole = draws_by_target(loader(problem, "first_fit", negatives=SOURCES), source)
    assert draws_by_target(loader(problem, negatives=SOURCES), source) == whole


@pytest.mark.parametrize("per", ["position", "sequence"])
def test_prefixes_of_a_user_have_negatives_of_their_own(problem, per):
    """Also where the row is short, so that all of them have as many inputs."""
    problem.max_len = 2
    wide = (NegativesSpec(name="uniform", num_negatives=20, per=per),)
    found = defaultdict(list)
    for batch in loader(problem, negatives=wide).epoch(0):
        for user, ids in zip(batch.users_S.tolist(), batch.negatives[0].ids.tolist(), strict=True):
            found[user].append(tuple(ids))
    assert all(len(set(drawn)) == len(drawn) for drawn in found.values())


def test_order_and_draws_depend_on_seed_and_epoch_alone(problem):
    def contents(epoch, **options):
        batches = loader(problem, negatives=SOURCES, **options).epoch(epoch)
        return [
            (b.users_S.tolist(), b.targets_N.tolist(), [n.ids.tolist() for n in b.negatives])
            for b in batches
        ]

    assert contents(1) == contents(1, threads=3)
    assert contents(1)[0][0] != contents(2)[0][0] != contents(2, seed=8)[0][0]
    made = loader(problem, negatives=SOURCES)
    now, ahead = made.batch(1, 3), list(made.epoch(1))[3]
    assert torch.equal(now.item_ids_BL, ahead.item_ids_BL)


def test_only_user_and_end_are_held_of_a_prefix():
    lengths = np.full(1000, 300)
    made = Samples(lengths, max_len=200, every_prefix=True)
    assert len(made) == 299_000
    assert made.num_bytes == 8 * len(made)
    assert Samples(lengths, max_len=200).num_bytes == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_on": "last"}, 'loss.train_on = "last" on one a user'),
        ({"mask_prob": 0.3}, "masked"),
    ],
)
def test_what_prefixes_cannot_be_is_refused(problem, options, message):
    with pytest.raises(SpecError, match=message) as refused:
        loader(problem, **options)
    assert 'batch.packer = "best_fit"' in refused.value.hint


def test_no_history_of_two_items_is_refused(make):
    lone = SimpleNamespace(histories=make.histories_of([[1], []]), num_items=3, size=2, max_len=3)
    with pytest.raises(DataError, match="no training history has two items"):
        Steps(lone.histories.lengths, batch=BatchSpec(packer="prefixes"), seed=0)


def test_the_shape_of_a_step_counts_prefixes(make):
    steps = Steps(np.array([4, 1]), batch=BatchSpec(packer="prefixes", size=8, max_len=3), seed=0)
    # Prefixes of 1, 2 and 3 items: rows of three hold them as 3 and 2 + 1.
    assert steps.shape(0, 0) == BatchShape(2, 3, 3, 3)
