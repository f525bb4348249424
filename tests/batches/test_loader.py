"""Laws of training batches: what is in them does not depend on packer, threads or batch size."""

import threading
import time
from collections import Counter
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scalelab.batches.loader import Loader
from scalelab.batches.steps import Steps
from scalelab.core import plugins
from scalelab.core.errors import DataError
from scalelab.core.spec import BatchSpec, NegativesSpec

# `prefixes` makes other samples: see test_prefixes.py.
PACKERS = tuple(name for name in plugins.available("packers") if name != "prefixes")
SOURCES = tuple(
    NegativesSpec(name=name, num_negatives=3, per=per)
    for name in ("uniform", "popularity", "in_batch")
    for per in ("position", "sequence", "batch")
)


def loader(problem, *, packer="first_fit", size=None, seed=None, **options):
    batch = BatchSpec(packer=packer, size=size or problem.size, max_len=problem.max_len)
    seed = problem.seed if seed is None else seed
    return Loader(problem.histories, num_items=problem.num_items, batch=batch, seed=seed, **options)


@pytest.fixture
def problem(make):
    rng = np.random.default_rng(3)
    sequences = [rng.integers(1, 51, n).tolist() for n in rng.integers(0, 20, 300)]
    histories = make.histories_of(sequences)
    return SimpleNamespace(
        sequences=sequences, histories=histories, num_items=50, max_len=10, size=16, seed=7, epoch=1
    )


def by_position(batch):
    """The input that stands at each of the N positions, and its place in its sequence."""
    at_N = batch.valid_N.numpy()
    flat = (t.numpy().ravel()[at_N] for t in (batch.item_ids_BL, batch.positions_BL))
    return (*flat, batch.segments_BL.numpy().ravel()[at_N])


@pytest.mark.parametrize("packer", PACKERS)
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_every_pair_occurs_once_an_epoch(packer, make, data):
    problem = data.draw(make.problems())
    loaded = Counter()
    for batch in loader(problem, packer=packer).epoch(problem.epoch):
        inputs, positions, segments = by_position(batch)
        users = batch.users_S.numpy()[batch.sequence_N.numpy()]
        assert (segments == batch.sequence_N.numpy() + 1).all()
        loaded.update(zip(users, positions, inputs, batch.targets_N.numpy(), strict=True))
        assert len(inputs) == np.count_nonzero(batch.item_ids_BL.numpy()), "inputs without a target"
    expected = Counter()
    for user, sequence in enumerate(problem.sequences):
        kept = sequence[-(problem.max_len + 1) :]
        pairs = pairwise(kept)
        expected.update((user, t, given, wanted) for t, (given, wanted) in enumerate(pairs))
    assert loaded == expected


@pytest.mark.parametrize("packer", PACKERS)
@given(data=st.data())
@settings(deadline=None, max_examples=40)
def test_a_sequence_lies_in_one_row_in_order_and_alone(packer, make, data):
    problem = data.draw(make.problems())
    for batch in loader(problem, packer=packer).epoch(problem.epoch):
        segments_BL, positions_BL = batch.segments_BL.numpy(), batch.positions_BL.numpy()
        assert (batch.item_ids_BL.numpy() > 0).tolist() == (segments_BL > 0).tolist()
        assert positions_BL[segments_BL == 0].sum() == 0
        assert segments_BL.shape[1] == problem.max_len
        for segment in range(1, len(batch.users_S) + 1):
            rows, columns = np.nonzero(segments_BL == segment)
            assert len(set(rows)) == 1
            assert columns.tolist() == list(range(columns[0], columns[0] + len(columns)))
            assert positions_BL[rows, columns].tolist() == list(range(len(columns)))


@pytest.mark.parametrize("packer", PACKERS)
@pytest.mark.parametrize("train_on", ["all", "last"])
@given(data=st.data())
@settings(deadline=None, max_examples=20)
def test_shapes_are_known_from_lengths_alone(packer, train_on, make, data):
    problem = data.draw(make.problems())
    made = loader(problem, packer=packer, train_on=train_on)
    steps = Steps(
        problem.histories.lengths,
        batch=BatchSpec(packer=packer, size=problem.size, max_len=problem.max_len),
        seed=problem.seed,
        train_on=train_on,
    )
    batches = list(made.epoch(problem.epoch))
    shapes = [batch.shape for batch in batches]
    assert len(batches) == made.num_steps == steps.num_steps
    assert [steps.shape(problem.epoch, t) for t in range(steps.num_steps)] == shapes
    for first in range(made.num_steps):
        largest = steps.largest_step(problem.epoch, first)
        assert largest >= first
        assert shapes[largest].num_positions == max(s.num_positions for s in shapes[first:])


def content(batch):
    """All of a step that the packer may not change."""
    inputs, positions, segments = by_position(batch)
    fields = (batch.users_S, batch.targets_N, batch.sequence_N)
    negatives = [n.ids for n in batch.negatives]
    return [inputs, positions, segments, *(t.numpy() for t in (*fields, *negatives))]


def same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@given(data=st.data())
@settings(deadline=None, max_examples=15)
def test_pairs_and_negatives_are_the_same_whatever_packer_and_threads(make, data):
    problem = data.draw(make.problems())
    train_on = data.draw(st.sampled_from(["all", "last"]))
    wanted = None
    for packer in PACKERS:
        for threads in (1, 3):
            made = loader(
                problem, packer=packer, threads=threads, negatives=SOURCES, train_on=train_on
            )
            contents = [content(batch) for batch in made.epoch(problem.epoch)]
            wanted = wanted or contents
            assert len(contents) == len(wanted)
            assert all(same(a, b) for a, b in zip(contents, wanted, strict=True))


def test_a_step_made_now_is_the_one_prepared_ahead(problem):
    made = loader(problem, negatives=SOURCES, threads=2)
    for step, ahead in enumerate(made.epoch(2)):
        now = made.batch(2, step)
        assert same(content(now), content(ahead))
        assert torch.equal(now.item_ids_BL, ahead.item_ids_BL)


def test_a_step_made_now_shares_memory_with_nothing(problem):
    batch = loader(problem, negatives=SOURCES).batch(0, 1)
    tensors = [getattr(batch, name) for name in vars(batch) if name != "negatives"]
    for tensor in [*tensors, *(n.ids for n in batch.negatives)]:
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


def draws_by_user(made, epoch, source):
    found = {}
    for batch in made.epoch(epoch):
        users = batch.users_S.numpy()[batch.sequence_N.numpy()]
        positions = by_position(batch)[1]
        ids = batch.negatives[source].ids.numpy()
        rows = ids if batch.negatives[source].per == "position" else ids[batch.sequence_N.numpy()]
        found.update(zip(zip(users, positions, strict=True), map(tuple, rows), strict=True))
    return found


@pytest.mark.parametrize("source", [0, 1, 3, 4])
def test_draws_of_a_user_do_not_depend_on_the_batch_size(problem, source):
    few, many = (loader(problem, size=size, negatives=SOURCES) for size in (5, 64))
    assert draws_by_user(few, 1, source) == draws_by_user(many, 1, source)
    assert draws_by_user(few, 1, source) != draws_by_user(few, 2, source)


def test_last_positions_have_the_draws_that_they_have_among_all(problem):
    every, last = (loader(problem, negatives=SOURCES, train_on=p) for p in ("all", "last"))
    among_all, alone = draws_by_user(every, 0, 0), draws_by_user(last, 0, 0)
    assert len(alone) == last.num_sequences
    assert alone == {place: among_all[place] for place in alone}


@pytest.mark.parametrize("packer", PACKERS)
def test_last_keeps_the_whole_input_and_one_target_a_sequence(problem, packer):
    every, last = (loader(problem, packer=packer, train_on=p) for p in ("all", "last"))
    for all_of_it, batch in zip(every.epoch(0), last.epoch(0), strict=True):
        assert torch.equal(all_of_it.item_ids_BL, batch.item_ids_BL)
        assert batch.sequence_N.tolist() == list(range(len(batch.users_S)))
        # Positions are ordered by sequence, then time.
        chosen = torch.cat([all_of_it.sequence_N.diff() != 0, torch.tensor([True])])
        assert torch.equal(all_of_it.targets_N[chosen], batch.targets_N)
        assert torch.equal(all_of_it.valid_N[chosen], batch.valid_N)


def test_order_and_draws_follow_the_seed_and_the_epoch(problem):
    one = [content(b) for b in loader(problem, negatives=SOURCES).epoch(1)]
    again = [content(b) for b in loader(problem, negatives=SOURCES).epoch(1)]
    assert all(same(a, b) for a, b in zip(one, again, strict=True))
    for other in (loader(problem, seed=8, negatives=SOURCES).batch(1, 0), None):
        other = other or loader(problem, negatives=SOURCES).batch(2, 0)
        assert not np.array_equal(one[0][3], other.users_S.numpy())
        assert not same(one[0][-8:-6], content(other)[-8:-6])


def test_two_sources_alike_draw_apart(problem):
    twice = (NegativesSpec(num_negatives=50),) * 2
    first, second = loader(problem, negatives=twice).batch(0, 0).negatives
    assert (first.ids == second.ids).float().mean() < 0.1


def test_threads_do_not_outlive_an_abandoned_epoch(problem):
    before = threading.active_count()
    steps = loader(problem, threads=3, negatives=SOURCES).epoch(0)
    next(steps)
    assert threading.active_count() > before
    steps.close()
    assert threading.active_count() == before


def test_what_a_thread_raises_is_raised_to_the_consumer(problem, monkeypatch):
    made = loader(problem, threads=2)
    prepare = made._prepare

    def break_down(plan, epoch, steps):
        if 5 in steps:
            raise MemoryError("no room for step 5")
        return prepare(plan, epoch, steps)

    monkeypatch.setattr(made, "_prepare", break_down)
    before = threading.active_count()
    seen = []
    with pytest.raises(MemoryError, match="step 5"):
        seen.extend(made.epoch(0))
    assert threading.active_count() == before


def test_waiting_is_counted_and_working_is_not(problem, monkeypatch):
    made = loader(problem)
    prepare = made._prepare

    def slowly(plan, epoch, steps):
        time.sleep(0.05)
        return prepare(plan, epoch, steps)

    monkeypatch.setattr(made, "_prepare", slowly)
    steps = made.epoch(0)
    next(steps)
    waited = made.wait_s
    assert waited >= 0.05
    time.sleep(0.5)
    steps.close()
    assert made.wait_s == waited


def test_histories_may_lie_on_disk(problem, tmp_path):
    np.save(tmp_path / "items.npy", problem.histories.item_ids)
    on_disk = np.load(tmp_path / "items.npy", mmap_mode="r")
    wanted = loader(problem, negatives=SOURCES).batch(0, 0)
    problem.histories = type(problem.histories)(
        item_ids=on_disk, starts=problem.histories.starts, ends=problem.histories.ends
    )
    assert same(content(loader(problem, negatives=SOURCES).batch(0, 0)), content(wanted))


def test_log_popularity_is_the_log_of_the_share(problem):
    share = np.exp(loader(problem).log_popularity.astype(np.float64))
    counts = Counter(item for sequence in problem.sequences for item in sequence)
    assert share.shape == (problem.num_items + 1,)
    assert share[1:].sum() == pytest.approx(1, abs=1e-5)
    assert share[17] == pytest.approx(counts[17] / counts.total(), rel=1e-5)


def test_an_item_that_never_occurs_has_a_finite_log_popularity(make):
    problem = SimpleNamespace(
        histories=make.histories_of([[1, 2, 2]]), num_items=5, size=1, max_len=3, seed=0
    )
    assert loader(problem).log_popularity == pytest.approx(
        np.log([1 / 3, 1 / 3, 2 / 3] + 3 * [1 / 3])
    )


@pytest.mark.parametrize("item", [0, -1, 51])
def test_an_item_id_out_of_range_is_refused(problem, make, item):
    problem.histories = make.histories_of([[1, 2], [3, item, 4]])
    with pytest.raises(DataError, match=r"outside 1\.\.50"):
        loader(problem)


def test_held_out_items_are_never_read(problem):
    """An id that lies outside every training slice may be anything."""
    broken = problem.histories.item_ids.copy()
    inside = np.zeros(len(broken), bool)
    for user in range(len(problem.histories)):
        inside[problem.histories.starts[user] : problem.histories.ends[user]] = True
    wanted = loader(problem, negatives=SOURCES).batch(0, 0)
    broken[~inside] = 10**6
    problem.histories = type(problem.histories)(
        item_ids=broken, starts=problem.histories.starts, ends=problem.histories.ends
    )
    assert same(content(loader(problem, negatives=SOURCES).batch(0, 0)), content(wanted))


def test_a_step_that_does_not_exist_is_refused(problem):
    made = loader(problem)
    for step in (-1, made.num_steps):
        with pytest.raises(IndexError):
            made.batch(0, step)
