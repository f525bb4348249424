"""Laws of the two splits, and the counts that the data sets' cards tell."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.core.errors import DataError
from scalelab.core.spec import DataSpec
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.load import load
from scalelab.datasets.splits import cut_time, leave_one_out, split_lengths, temporal
from tests.datasets.conftest import interactions_of, timed_histories


@given(timed_histories())
def test_leave_one_out_takes_the_last_two_of_who_has_three(whole: Interactions):
    histories = [whole.histories[u].tolist() for u in range(whole.num_users)]
    long = [u for u, h in enumerate(histories) if len(h) >= 3]
    if not long:
        with pytest.raises(DataError, match="leave-one-out needs"):
            leave_one_out(whole)
        return
    split = leave_one_out(whole)
    assert [split.train[u].tolist() for u in range(len(split.train))] == [
        h[:-2] if len(h) >= 3 else h for h in histories
    ]
    assert split.test.users.tolist() == split.valid.users.tolist() == long
    for n, user in enumerate(long):
        assert split.valid.histories[n].tolist() == histories[user][:-2]
        assert split.test.histories[n].tolist() == histories[user][:-1]
        assert (split.valid.targets[n], split.test.targets[n]) == tuple(histories[user][-2:])
    assert sum(split.dropped.values()) == len(histories) - len(long)
    assert split.test.num_repeated == sum(histories[u][-1] in histories[u][:-1] for u in long)
    trained = {i for u in range(len(split.train)) for i in split.train[u].tolist()}
    assert split.test.num_unseen == sum(histories[u][-1] not in trained for u in long)
    lengths = split_lengths(np.array([len(h) for h in histories]))
    for found, part in zip(
        lengths, (split.train, split.valid.histories, split.test.histories), strict=True
    ):
        np.testing.assert_array_equal(found, part.lengths)


@given(timed_histories(), st.floats(0.05, 0.95))
def test_temporal_trains_on_nobody_whom_it_tests_and_on_nothing_later(
    whole: Interactions, quantile
):
    assert whole.times is not None
    cut = cut_time(whole.times, quantile)
    assert (whole.times <= cut).mean() >= quantile
    assert (whole.times < cut).mean() < quantile
    times = [whole.times[a:b] for a, b in zip(whole.offsets[:-1], whole.offsets[1:], strict=True)]
    late = [u for u in range(whole.num_users) if times[u].max() > cut]
    tested = [u for u in late if len(times[u]) >= 3]
    if not tested or len(late) == whole.num_users:
        with pytest.raises(DataError, match="leaves no"):
            temporal(whole, quantile)
        return
    split = temporal(whole, quantile)
    trained = [u for u in range(whole.num_users) if u not in late]
    assert [split.train[n].tolist() for n in range(len(split.train))] == [
        whole.histories[u].tolist() for u in trained
    ]
    assert split.test.users.tolist() == split.valid.users.tolist() == tested
    for n, user in enumerate(tested):
        history = whole.histories[user].tolist()
        assert split.test.histories[n].tolist() == history[:-1]
        assert split.valid.histories[n].tolist() == history[:-2]
        assert [split.valid.targets[n], split.test.targets[n]] == history[-2:]
    assert sum(split.dropped.values()) == len(late) - len(tested)


@pytest.mark.parametrize("times", [None, [[0, 1, 2], [0, 1, 2, 3]]])
def test_temporal_is_refused_where_times_are_only_an_order(times):
    whole = interactions_of([[1, 2, 3], [1, 2, 3, 4]], times)
    whole = Interactions(**{**whole.__dict__, "time_is_order": True})
    with pytest.raises(DataError, match="needs clock times"):
        temporal(whole, 0.95)


@pytest.mark.parametrize("name", ["amazon-beauty", "ml-100k", "gowalla-1k"])
def test_the_cut_is_that_of_the_card(shared, name):
    folder = shared / "data" / name
    if not folder.is_dir():
        pytest.skip(f"no data set {folder}")
    card = json.loads((folder / "card.json").read_text())["global_time_split_q95"]
    read = load(DataSpec(path=str(folder)))
    assert read.times is not None
    split = temporal(read, 0.95)
    assert cut_time(read.times, 0.95) == card["cut_ts"]
    tested = len(split.test) + sum(split.dropped.values())
    assert tested == card["holdout_users"]
    assert int((read.times > card["cut_ts"]).sum()) == card["holdout_interactions"]
