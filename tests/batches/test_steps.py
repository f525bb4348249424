"""Who takes part in an epoch, and what is refused; shapes are tested with the loader."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.batches.steps import Steps
from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import BatchSpec


@given(st.lists(st.integers(0, 30), min_size=1, max_size=50), st.integers(1, 60))
@settings(deadline=None)
def test_every_user_with_two_items_takes_part_once(lengths, size):
    lengths = np.array([2, *lengths])
    steps = Steps(lengths, batch=BatchSpec(size=size, max_len=10), seed=1)
    users = steps.plan(4).users
    assert sorted(users) == np.flatnonzero(lengths >= 2).tolist()
    sequences = [steps.shape(4, t).num_sequences for t in range(steps.num_steps)]
    assert sum(sequences) == len(users)
    assert sequences[:-1] == [size] * (steps.num_steps - 1)


def test_an_old_epoch_comes_out_the_same_again():
    steps = Steps(np.arange(100), batch=BatchSpec(size=7), seed=1)
    first = steps.plan(0).users.copy()
    for epoch in range(1, 6):
        assert not np.array_equal(steps.plan(epoch).users, first)
    assert np.array_equal(steps.plan(0).users, first)


def test_no_history_with_a_target_is_refused():
    with pytest.raises(DataError, match="two items"):
        Steps(np.array([0, 1, 1]), batch=BatchSpec(), seed=0)


def test_unknown_names_are_refused():
    with pytest.raises(SpecError, match="worst_fit"):
        Steps(np.array([3]), batch=BatchSpec(packer="worst_fit"), seed=0)
    with pytest.raises(SpecError, match="middle"):
        Steps(np.array([3]), batch=BatchSpec(), seed=0, train_on="middle")


def test_a_step_that_does_not_exist_has_no_shape():
    steps = Steps(np.array([3, 3, 3]), batch=BatchSpec(size=2), seed=0)
    for ask in (
        lambda: steps.shape(0, 2),
        lambda: steps.shape(0, -1),
        lambda: steps.largest_step(0, 2),
    ):
        with pytest.raises(IndexError):
            ask()


def shapes_of(steps: Steps, epochs: int, max_steps: int = 0) -> list[tuple[int, int, tuple]]:
    every = [
        (epoch, step, tuple(steps.shape(epoch, step)))
        for epoch in range(epochs)
        for step in range(steps.num_steps)
    ]
    return every[:max_steps] if max_steps else every


@given(
    lengths=st.lists(st.integers(0, 30), min_size=1, max_size=60),
    size=st.integers(1, 12),
    epochs=st.integers(1, 6),
    max_steps=st.integers(0, 20),
    packer=st.sampled_from(["first_fit", "best_fit", "pad_left"]),
    how=st.sampled_from([{}, {"train_on": "last"}, {"mask_prob": 0.3}]),
)
@settings(deadline=None)
def test_the_largest_steps_exceed_every_step_that_can_run(
    lengths, size, epochs, max_steps, packer, how
):
    batch = BatchSpec(size=size, max_len=10, packer=packer)
    steps = Steps(np.array([2, *lengths]), batch=batch, seed=1, **how)
    every = shapes_of(steps, epochs, max_steps)
    found = steps.largest_steps(epochs, max_steps)
    for _, _, shape in every:
        assert any(all(np.array(c.shape) >= shape) for c in found), "covered"
    for choice in found:
        # It is a step that runs, the first of its sizes, and no other exceeds it.
        same = [(e, t) for e, t, shape in every if shape == choice.shape]
        assert same[0] == (choice.epoch, choice.step)
        others = [shape for *_, shape in every if shape != choice.shape]
        assert not any(all(np.array(shape) >= choice.shape) for shape in others)
    assert len({choice.shape for choice in found}) == len(found)


def test_a_later_epoch_may_hold_the_largest_step():
    steps = Steps(np.arange(2, 40), batch=BatchSpec(size=4), seed=0)
    first, later = steps.largest_steps(1)[-1], steps.largest_steps(60)[-1]
    assert later.shape.num_positions > first.shape.num_positions
    assert later.epoch > 0


def test_where_all_epochs_are_too_many_the_largest_possible_step_takes_their_place(monkeypatch):
    lengths = np.random.default_rng(0).integers(2, 40, 50)
    batch = BatchSpec(size=8, max_len=30)
    searched = Steps(lengths, batch=batch, seed=7).largest_steps(20)
    monkeypatch.setattr("scalelab.batches.steps._MOST_SEARCHED", 999)
    monkeypatch.setattr("scalelab.batches.steps._FOUND", {})
    steps = Steps(lengths, batch=batch, seed=7)
    (choice,) = steps.largest_steps(20)
    assert (choice.epoch, choice.step) == (None, 0)
    inputs = np.sort(np.minimum(lengths, 31) - 1)[-8:]
    assert choice.shape.num_positions == inputs.sum()
    assert choice.shape.num_sequences == 8
    assert all(c.shape.num_positions <= inputs.sum() for c in searched)
    assert steps.largest_steps(19)[0].epoch is not None, "950 sequences are few enough"


def test_what_was_found_is_not_mistaken_for_another_run(monkeypatch):
    def found(lengths=(3, 9, 4, 12, 7), epochs=3, max_steps=0, seed=0, size=2, **how):
        batch = BatchSpec(size=size, max_len=10, packer=how.pop("packer", "first_fit"))
        steps = Steps(np.array(lengths), batch=batch, seed=seed, **how)
        return steps.largest_steps(epochs, max_steps)

    cases = [
        {},
        {"lengths": (3, 9, 4, 12, 8)},
        {"epochs": 9},
        {"max_steps": 1},
        {"seed": 5},
        {"size": 3},
        {"packer": "pad_left"},
        {"train_on": "last"},
        {"mask_prob": 0.2},
    ]
    kept = [found(**case) for case in cases]
    for case, expected in zip(cases, kept, strict=True):
        monkeypatch.setattr("scalelab.batches.steps._FOUND", {})
        assert found(**case) == expected
