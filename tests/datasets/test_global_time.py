"""Laws of the split of all users at the same moments."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.core.errors import DataError, SpecError
from scalelab.core.spec import DataSpec, RunSpec, with_overrides
from scalelab.dataset_facts.describe import describe
from scalelab.datasets.global_time import global_time, moment
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.load import Dataset, load, split
from scalelab.datasets.request import request
from tests.datasets.conftest import timed_histories


@given(timed_histories(), st.integers(1, 18), st.integers(1, 6))
def test_nothing_of_the_future_is_trained_on(whole: Interactions, first, width):
    whole = Interactions(**{**whole.__dict__, "time_is_order": False})
    second = first + width
    assert whole.times is not None
    times = [whole.times[a:b] for a, b in zip(whole.offsets[:-1], whole.offsets[1:], strict=True)]
    items = [whole.histories[u].tolist() for u in range(whole.num_users)]
    trained = [u for u, t in enumerate(times) if (t < first).any()]
    windows = [
        [
            (u, int(np.flatnonzero((t >= low) & (t < high))[-1]))
            for u, t in enumerate(times)
            if ((t >= low) & (t < high)).any()
        ]
        for low, high in ((first, second), (second, 10**9))
    ]
    kept = [[(u, at) for u, at in window if at > 0] for window in windows]
    if not trained or not all(kept):
        with pytest.raises(DataError, match="leaves no user to"):
            global_time(whole, float(first), float(second))
        return
    parts = global_time(whole, float(first), float(second))
    assert [parts.train[n].tolist() for n in range(len(parts.train))] == [
        [i for i, t in zip(items[u], times[u], strict=True) if t < first] for u in trained
    ]
    for found, expected in zip((parts.valid, parts.test), kept, strict=True):
        assert found.users.tolist() == [u for u, _ in expected]
        assert found.targets.tolist() == [items[u][at] for u, at in expected]
        for n, (u, at) in enumerate(expected):
            assert found.histories[n].tolist() == items[u][:at]
    lost = sum(map(len, windows)) - sum(map(len, kept))
    assert sum(parts.dropped.values()) == lost


@pytest.fixture
def months(tmp_path):
    path = tmp_path / "clicks.csv"
    path.write_text(
        "user,item,timestamp\n"
        + "".join(f"u{u},i{(u + k) % 9},2021-0{1 + k}-01\n" for u in range(6) for k in range(5))
    )
    return str(path)


@pytest.mark.parametrize(
    ("cut", "valid_cut", "trained", "history"),
    [
        ("2021-04-01", "2021-05-01", 18, 4),
        ("2021-03-15", "2021-04-15", 18, 4),
        ("2021-02-01T00:00:00+00:00", "2021-03-01T00:00:00Z", 6, 4),
        ("2021-04-01T01:00:00+02:00", "2021-05-01", 18, 4),
        (0.79, 0.99, 18, 4),
        (0.79, "2021-05-01", 18, 4),
        (1617235200, 1619827200, 18, 4),
        ("2021-04-01", "", 18, 4),
    ],
)
def test_a_cut_is_a_date_a_quantile_or_a_time(months, cut, valid_cut, trained, history):
    spec = DataSpec(path=months, split="global_time", cut=cut, valid_cut=valid_cut)
    parts = split(load(spec), spec)
    assert parts.train.lengths.sum() == trained
    assert parts.test.histories.lengths.tolist() == [history] * 6
    facts = describe(Dataset(spec))["splits"]["global_time"]
    assert facts["training_interactions"] == trained
    assert facts["cut_date"].startswith("2021-0")


def test_a_cut_is_for_the_temporal_split_too(months):
    spec = DataSpec(path=months, split="temporal", cut="2021-05-01")
    with pytest.raises(DataError, match="leaves no training user"):
        split(load(spec), spec)
    whole = load(spec)
    assert moment(whole, "2021-05-01", "cut") == 1619827200
    assert moment(whole, "2021-05-01T00:00:00.5", "cut") == 1619827201


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"cut": "soon"}, SpecError),
        ({"cut": True}, SpecError),
        ({"cut": "2021-04-01", "valid_cut": "2021-03-01"}, DataError),
        ({"cut": "2031-04-01"}, DataError),
        ({"cut": "1999-04-01", "valid_cut": "2021-03-01"}, DataError),
    ],
)
def test_bad_cuts_are_one_line(months, settings, error):
    def cut():
        spec = request(months, None, {"split": "global_time", **settings}).spec
        return split(load(spec), spec)

    with pytest.raises(error) as caught:
        cut()
    assert "\n" not in caught.value.message
    assert caught.value.hint


def test_a_cut_makes_another_protocol(months):
    import datetime

    tables = with_overrides({}, {"data.path": months, "data.cut": datetime.date(2021, 4, 1)})
    spec = RunSpec.build(with_overrides(tables, {"data.split": "global_time"}))
    assert spec.data.cut == "2021-04-01"
    assert spec.protocol == "global time 2021-04-01, seen excluded"
    other = spec.with_({"data.valid_cut": "2021-05-01"})
    assert other.protocol.startswith("global time 2021-04-01 to 2021-05-01")
    assert other.fingerprint("d") != spec.fingerprint("d")
