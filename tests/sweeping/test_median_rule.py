"""When a run is hopeless: the median rule, case by case."""

import math
from types import SimpleNamespace

import pytest

from scalelab.core.events import Progress
from scalelab.core.records import Metric, Outcome
from scalelab.sweeping.median_rule import MedianRule

PROTOCOL = "leave-one-out"


def job(data="d", protocol=PROTOCOL):
    spec = SimpleNamespace(protocol=protocol)
    return SimpleNamespace(data_fingerprint=data, configuration=SimpleNamespace(spec=spec))


def done(curve, outcome=Outcome.DONE):
    """A record as far as the rule looks at one."""
    metrics = tuple(
        Metric(split="valid", epoch=epoch, name="ndcg", k=10, value=value)
        for epoch, value in curve.items()
    )
    return SimpleNamespace(run=SimpleNamespace(outcome=outcome), metrics=metrics)


def at(epoch, best, run_id="r"):
    return Progress(
        run_id=run_id,
        phase="evaluate",
        epoch=epoch,
        epochs=10,
        step=1,
        num_steps=1,
        loss=1.0,
        metric=best,
        best_metric=best,
        used_bytes=None,
        tokens_per_s=None,
    )


def rule(*curves, **where):
    made = MedianRule()
    for curve in curves:
        made.record(job(**where), done(curve))
    return made


FOUR = [{3: 0.1}, {3: 0.2}, {3: 0.3}, {3: 0.4}]  # the median is 0.25


@pytest.mark.parametrize(
    ("curves", "best", "hopeless"),
    [
        (FOUR, 0.24, True),
        (FOUR, 0.26, False),
        # As good as the median is not worse than the median.
        (FOUR, 0.25, False),
        ([{3: 0.2}] * 4, 0.2, False),
        ([{3: 0.2}] * 4, math.nextafter(0.2, 0), True),
        ([{3: 0.1}, {3: 0.2}, {3: 0.2}, {3: 0.2}, {3: 0.9}], 0.2, False),
        # Too few to say anything.
        (FOUR[:3], 0.0, False),
        # What others reached up to this epoch counts, not what they reached later or lost again.
        ([{1: 0.3, 3: 0.1}] * 4, 0.2, True),
        ([{3: 0.1, 5: 0.9}] * 4, 0.2, False),
        # Whoever was validated later only has nothing to compare with.
        ([{5: 0.9}] * 4, 0.0, False),
    ],
)
def test_a_run_ends_below_the_median_and_not_at_it(curves, best, hopeless):
    reason = rule(*curves).should_prune(job(), at(3, best))
    assert (reason is not None) == hopeless


def test_nothing_ends_in_its_first_epochs_or_before_it_was_validated():
    made = rule(*[{1: 0.5}] * 4)
    assert made.should_prune(job(), at(2, 0.0)) is None
    assert made.should_prune(job(), at(3, None)) is None
    assert made.should_prune(job(), at(3, 0.0)) is not None


def test_a_reason_is_given_once_a_run():
    made = rule(*FOUR)
    assert made.should_prune(job(), at(3, 0.0, "a"))
    assert made.should_prune(job(), at(4, 0.0, "a")) is None
    assert made.should_prune(job(), at(4, 0.0, "b"))


@pytest.mark.parametrize("where", [{"data": "other"}, {"protocol": "temporal 0.95"}])
def test_other_data_and_other_protocols_say_nothing(where):
    assert rule(*FOUR).should_prune(job(**where), at(3, 0.0)) is None


def test_only_runs_that_went_their_whole_way_are_learnt_from():
    made = MedianRule()
    for outcome in (Outcome.PRUNED, Outcome.TIMEOUT, Outcome.INTERRUPTED, Outcome.DIVERGED):
        made.record(job(), done({3: 0.9}, outcome))
    assert made.should_prune(job(), at(3, 0.0)) is None
