"""A plan refuses what the run would refuse for want of an item that a user has not had."""

import csv

import numpy as np
import pytest

from scalelab.core.errors import DataError
from scalelab.planning.devices import load_device
from scalelab.planning.predict import predict
from scalelab.synthetic.model import Synthetic
from scalelab.train.assemble import assemble
from scalelab.train.roll_out import roll_out


def written(path, histories):
    """A csv of histories in the order of the file."""
    with path.open("w", newline="") as stream:
        rows = [(user, item) for user, history in enumerate(histories) for item in history]
        csv.writer(stream).writerows([("user", "item"), *rows])
    return {"data.reader": "table", "data.path": str(path)}


def error_of(call):
    """The message of the DataError that `call` raises, None where it raises none."""
    try:
        call()
    except DataError as error:
        return error.message
    return None


def planned(spec):
    return error_of(lambda: predict(spec, load_device("cpu")))


ALL = [[1, 2, 3, 4, 5, 1, 2], [1, 2, 3], [4, 5, 1, 2]]
# Item 6 is nobody's in training.
BUT_ONE = [[1, 2, 3, 4, 5, 1, 6], [1, 2, 3], [4, 5, 1, 2]]
FEW = [[1, 2, 3, 4, 1, 2, 1], [1, 2, 3], [4, 5, 1, 2], [5, 4, 5, 1]]
SOURCES = [
    {"name": "uniform"},
    {"name": "popularity", "exponent": 1.0},
    {"name": "popularity", "exponent": 0.0},
    {"name": "in_batch"},
]


@pytest.mark.parametrize("reject", [True, False])
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize(("histories", "refused_by"), [(ALL, 3), (BUT_ONE, 1), (FEW, 0)])
def test_rejection_is_refused_as_the_run_does(
    small, tmp_path, histories, refused_by, source, reject
):
    source = {"num_negatives": 2, "per": "sequence", "reject": reject} | source
    data = written(tmp_path / "a.csv", histories)
    spec = small(data | {"negatives": [source], "loss.name": "bce"})
    run = error_of(lambda: assemble(spec))
    assert planned(spec) == run
    assert (run is not None) == (reject and source in _refusing(refused_by, source))


def _refusing(number, source):
    """`source` itself if it is among the sources of which so many refuse."""
    by_number = {0: (), 1: (SOURCES[1],), 3: SOURCES[:3]}
    return [source] if any(s.items() <= source.items() for s in by_number[number]) else []


@pytest.mark.slow
def test_random_data_are_refused_by_both_or_by_neither(small, tmp_path):
    rng = np.random.default_rng(5)
    seen = {"reject": set(), "feed back": set()}
    for trial in range(25):
        num_items, steps = int(rng.integers(3, 7)), int(rng.integers(1, 4))
        histories = [
            rng.integers(1, num_items + 1, rng.integers(steps + 2, 3 * num_items)).tolist()
            for _ in range(4)
        ]
        data = written(tmp_path / f"{trial}.csv", histories)
        name = rng.choice(["uniform", "popularity"])
        source = {"name": str(name), "num_negatives": 2, "per": "position", "reject": True}
        spec = small(data | {"negatives": [source], "loss.name": "bce"})
        run = error_of(lambda spec=spec: assemble(spec))
        assert planned(spec) == run, trial
        seen["reject"].add(run is None)
        ahead = {"evaluate.steps_ahead": steps, "evaluate.fed_back": True}
        spec = small(data | ahead | {"data.test_items": steps})
        run = error_of(lambda spec=spec: list(roll_out(assemble(spec))))
        assert planned(spec) == run, trial
        seen["feed back"].add(run is None)
    assert all(found == {True, False} for found in seen.values()), seen


@pytest.mark.parametrize(
    ("history", "steps", "refused"),
    [
        ([1, 2, 3, 4, 1, 2], 2, True),  # all four before the last two
        ([1, 2, 3, 1, 2, 4], 2, True),  # three, and one that is fed back
        ([1, 2, 1, 2, 3, 4], 2, False),
        ([1, 2, 1, 2, 3, 4], 3, True),
    ],
)
def test_feeding_back_is_refused_as_the_run_does(small, tmp_path, history, steps, refused):
    ahead = {"evaluate.steps_ahead": steps, "evaluate.fed_back": True, "data.test_items": steps}
    data = written(tmp_path / "a.csv", [history])
    spec = small(data | ahead | {"data.split": "leave_one_out"})
    run = error_of(lambda: list(roll_out(assemble(spec))))
    assert planned(spec) == run
    assert (run is not None) == refused
    assert planned(spec.with_({"data.exclude_seen": False})) is None
    assert planned(spec.with_({"evaluate.fed_back": False})) is None


REJECTS = {"negatives.reject": True, "negatives.per": "position", "loss.name": "bce"}
AGAIN = {"data.repeats": True, "data.num_users": 40, "data.min_length": 3}
FED_BACK = {"evaluate.steps_ahead": 1, "evaluate.fed_back": True}


@pytest.mark.parametrize(
    ("changes", "refused"),
    [
        (REJECTS | AGAIN | {"data.num_items": 2, "data.mean_length": 20}, True),
        (REJECTS | AGAIN | {"data.num_items": 8, "data.mean_length": 30}, True),
        (REJECTS | AGAIN | {"data.num_items": 100, "data.mean_length": 6}, False),
        (REJECTS | AGAIN | {"data.num_items": 30, "data.max_length": 29}, False),
        (
            REJECTS | AGAIN | {"negatives.name": "popularity", "data.num_users": 1}
            | {"data.num_items": 500, "data.mean_length": 9, "data.max_length": 40},
            True,
        ),
        (
            REJECTS | {"negatives.name": "popularity", "data.num_users": 1, "data.num_items": 80}
            | {"data.max_length": 40},
            True,
        ),
        (REJECTS | {"data.num_users": 1, "data.num_items": 80, "data.max_length": 40}, False),
        (REJECTS | {"negatives.name": "popularity", "data.num_items": 400}, False),
        (FED_BACK | AGAIN | {"data.num_items": 5, "data.mean_length": 20}, True),
        (FED_BACK | AGAIN | {"data.num_items": 300, "data.mean_length": 6}, False),
    ],
)  # fmt: skip
def test_generated_data_are_refused_as_the_run_does(small, changes, refused):
    spec = small(changes)
    run = error_of(lambda: list(roll_out(assemble(spec))))
    assert planned(spec) == run
    assert (run is not None) == refused


@pytest.mark.parametrize(
    "changes",
    [
        REJECTS | {"data.num_items": 400},
        REJECTS | AGAIN | {"data.num_items": 400, "data.max_length": 200},
        FED_BACK | {"data.num_items": 400},
        {"loss.name": "bce", "negatives.name": "popularity", "negatives.reject": False},
        AGAIN | {"data.num_items": 5, "data.mean_length": 20, "negatives.reject": False},
    ],
)
def test_a_plan_draws_no_items_where_lengths_rule_it_out(small, changes, monkeypatch):
    def generate(self, into=None):
        raise AssertionError("drawn")

    monkeypatch.setattr(Synthetic, "generate", generate)
    assert planned(small(changes)) is None
