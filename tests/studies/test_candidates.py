"""Which losses, numbers of negatives and batches are offered for a catalog; which rounds fit."""

from itertools import pairwise

import pytest

from scalelab.core.spec import RunSpec
from scalelab.studies.candidates import candidates
from scalelab.studies.schedule import Epoch, epoch_of, scheduled

BASE = RunSpec.load("sasrec-synthetic")


def offered(num_items, num_users=100_000):
    return [each.keys for each in candidates(BASE, num_items=num_items, num_users=num_users)]


def losses(keys):
    return {(each["loss.name"], each.get("negatives.num_negatives")) for each in keys}


@pytest.mark.parametrize(
    ("num_items", "expected"),
    [
        (100, {("cross_entropy", None), ("bce", 1)}),
        (
            2_000,
            {("cross_entropy", None), ("bce", 1), ("gbce", 256), ("sampled_softmax", 256)},
        ),
        (
            12_000,
            {
                ("cross_entropy", None),
                ("bce", 1),
                ("gbce", 256),
                ("rece", None),
                ("sampled_softmax", 256),
                ("sampled_softmax", 512),
            },
        ),
        (
            2_000_000,
            {
                ("cross_entropy", None),
                ("bce", 1),
                ("gbce", 256),
                ("rece", None),
                ("sampled_softmax", 256),
                ("sampled_softmax", 512),
                ("sampled_softmax", 4096),
            },
        ),
    ],
)
def test_the_catalog_decides_what_is_sensible(num_items, expected):
    assert losses(offered(num_items)) == expected


@pytest.mark.parametrize(("num_users", "sizes"), [(1_000, [128]), (6_000, [128, 512])])
def test_a_larger_batch_leaves_an_epoch_some_steps(num_users, sizes):
    assert list(dict.fromkeys(each["batch.size"] for each in offered(5_000, num_users))) == sizes


def test_every_offer_is_a_run_of_its_own():
    common = {"negatives.name": "uniform", "negatives.reject": False}
    specs = [
        RunSpec.load("sasrec-synthetic", common | keys).as_json() for keys in offered(2_000_000)
    ]
    assert len(set(specs)) == len(specs) == 14


def epoch(middle, updates=500):
    return Epoch(low=middle / 2, high=middle * 2, updates=updates)


@pytest.mark.parametrize(
    ("count", "numbers"), [(1, (1,)), (2, (2,)), (3, (3, 2)), (6, (6, 2)), (14, (14, 5, 2))]
)
def test_each_round_keeps_a_third_and_at_least_two(count, numbers):
    found = scheduled([epoch(60.0)] * count, hours=20.0, most_epochs=1000)
    assert found.numbers == numbers
    assert all(later == 3 * first for first, later in pairwise(found.epochs))


@pytest.mark.parametrize("hours", [0.5, 1.0, 8.0, 30.0])
def test_the_middle_of_the_prediction_fits_the_hours_and_one_epoch_more_does_not(hours):
    epochs = [epoch(100.0), epoch(10.0), epoch(10.0), epoch(10.0)]

    def seconds(first):
        # 4 in the first round, the 2 most expensive in the second, 10 s to start each.
        return first * 130 + 3 * first * 110 + 6 * 10

    found = scheduled(epochs, hours=hours, most_epochs=10_000)
    assert seconds(found.epochs[0]) <= 0.8 * 3600 * hours < seconds(found.epochs[0] + 1)
    assert found.low_s < seconds(found.epochs[0]) < found.high_s


def test_too_few_updates_are_no_schedule():
    # 50 updates an epoch: 10 epochs to reach 500, of 60 s each.
    few = [epoch(60.0, updates=50)] * 3
    assert scheduled(few, hours=0.5, most_epochs=1000) is None
    assert scheduled(few, hours=3.0, most_epochs=1000).epochs[0] >= 10


def test_the_last_round_has_no_more_epochs_than_the_base():
    found = scheduled([epoch(1.0)] * 6, hours=100.0, most_epochs=20)
    assert found.epochs == (6, 18)
    assert scheduled([epoch(1.0)] * 6, hours=100.0, most_epochs=2).epochs == (1, 2)


def test_an_epoch_counts_its_share_of_evaluation():
    document = {
        "seconds": {
            "step": {"low": 0.1, "high": 0.4},
            "evaluation": {"low": 10.0, "high": 40.0},
        },
        "steps_per_epoch": 100,
        "spec": {"train": {"eval_every": 5, "accumulate": 4}},
    }
    assert epoch_of(document) == Epoch(low=12.0, high=48.0, updates=25)
