<<<<<<< HEAD
"""A run is pruned below the median of finished ones, but not while it may be on the plateau."""

from dataclasses import fields

import pytest
from sweeping_helpers import BASE

from scalelab.core.events import Progress
from scalelab.core.records import Metric, Outcome, Record, Run
from scalelab.core.spec import RunSpec
from scalelab.studies.grid import Configuration
from scalelab.sweeping.jobs import Job
from scalelab.sweeping.median_rule import MedianRule

STEPS = 100


@pytest.fixture
def job(tmp_path):
    """A run of the fake base."""
    (tmp_path / "base.toml").write_text(BASE)
    return job_of(RunSpec.load(tmp_path / "base.toml"))


def job_of(spec, data="d"):
    facts = dict.fromkeys(field.name for field in fields(Job))
    configuration = Configuration(spec=spec, label="")
    facts |= {"configuration": configuration, "fingerprint": "f", "attempt": 1}
    return Job(**facts | {"data_fingerprint": data})


def finished(curve, outcome=Outcome.DONE):
    row = dict.fromkeys(field.name for field in fields(Run)) | {"outcome": outcome}
=======
"""The median rule: which runs it compares, when it begins, and what a tie means."""

from types import SimpleNamespace

import pytest

from scalelab.core.records import Metric, Outcome
from scalelab.sweeping.median_rule import MedianRule


def job(data="d", protocol="p"):
    spec = SimpleNamespace(protocol=protocol)
    return SimpleNamespace(
        data_fingerprint=data, configuration=SimpleNamespace(spec=spec, label="")
    )


def record(curve, outcome=Outcome.DONE):
    """A finished run; `curve` is its validation NDCG@10 by epoch."""
>>>>>>> main
    metrics = [
        Metric(split="valid", epoch=epoch, name="ndcg", k=10, value=value)
        for epoch, value in curve.items()
    ]
<<<<<<< HEAD
    return Record(run=Run(**row), metrics=tuple(metrics))


def at(epoch, best, popularity=0.01, run_id="r"):
    facts = dict.fromkeys(field.name for field in fields(Progress))
    facts |= {"run_id": run_id, "epoch": epoch, "num_steps": STEPS, "best_metric": best}
    return Progress(**facts | {"popularity": popularity})


@pytest.fixture
def rule(job):
    """Four runs that reached 0.2, 0.3, 0.4 and 0.5 in epoch 3."""
    rule = MedianRule()
    for value in (0.2, 0.3, 0.4, 0.5):
        rule.record(job, finished({1: 0.1, 3: value, 5: 0.9}))
    return rule


def test_below_the_median_of_what_others_had_by_then(rule, job):
    assert "0.3500, the median of 4 runs" in (rule.should_prune(job, at(3, 0.34)) or "")
    assert rule.should_prune(job, at(3, 0.35, run_id="level")) is None


def test_one_reason_for_each_run(rule, job):
    assert rule.should_prune(job, at(3, 0.1))
    assert rule.should_prune(job, at(4, 0.1)) is None


def test_not_before_the_third_epoch_nor_without_a_metric(rule, job):
    assert rule.should_prune(job, at(2, 0.02)) is None
    assert rule.should_prune(job, at(3, None)) is None


def test_three_finished_runs_are_too_few_and_others_do_not_count(job):
    rule = MedianRule()
    for outcome in (Outcome.DONE, Outcome.DONE, Outcome.DONE, Outcome.OOM, Outcome.PRUNED):
        rule.record(job, finished({1: 0.5}, outcome))
    assert rule.should_prune(job, at(3, 0.1)) is None


def test_runs_of_other_data_or_another_protocol_do_not_count(rule, job):
    spec = job.configuration.spec
    assert rule.should_prune(job_of(spec, data="other"), at(3, 0.1)) is None
    other = job_of(spec.with_({"data.exclude_seen": False}))
    assert rule.should_prune(other, at(3, 0.1)) is None


@pytest.mark.parametrize(
    ("epoch", "best", "accumulate", "pruned"),
    [
        (3, 0.11, 1, False),
        (3, 0.12, 1, True),
        (19, 0.11, 1, False),
        (20, 0.11, 1, True),
        (20, 0.11, 2, False),
        (40, 0.11, 2, True),
    ],
)
def test_a_run_level_with_the_popularity_list_has_time_to_leave_it(
    rule, job, epoch, best, accumulate, pruned
):
    """Up to 2,000 updates, of 100 steps per epoch."""
    job = job_of(job.configuration.spec.with_({"train.accumulate": accumulate}))
    assert bool(rule.should_prune(job, at(epoch, best, popularity=0.1))) is pruned
=======
    # Neither of these is what runs are compared by.
    metrics += [
        Metric(split="test", epoch=9, name="ndcg", k=10, value=9.0),
        Metric(split="valid", epoch=9, name="recall", k=10, value=9.0),
    ]
    return SimpleNamespace(run=SimpleNamespace(outcome=outcome), metrics=metrics)


def progress(best, epoch=3, run_id="r"):
    return SimpleNamespace(run_id=run_id, epoch=epoch, best_metric=best)


def rule_of(*finals, data="d", protocol="p"):
    rule = MedianRule()
    for final in finals:
        rule.record(job(data, protocol), record({1: 0.0, 3: final}))
    return rule


@pytest.mark.parametrize(
    ("best", "pruned"), [(0.24, True), (0.25, False), (0.26, False)], ids=["below", "tie", "above"]
)
def test_a_run_at_the_median_goes_on(best, pruned):
    rule = rule_of(0.1, 0.2, 0.3, 0.4)
    reason = rule.should_prune(job(), progress(best))
    assert (reason is not None) is pruned
    if pruned:
        assert reason == "0.2400 at epoch 3 is below 0.2500, the median of 4 runs"


def test_equal_runs_never_prune_one_another():
    rule = rule_of(0.2, 0.2, 0.2, 0.2, 0.2)
    assert rule.should_prune(job(), progress(0.2)) is None


def test_it_waits_for_four_runs_and_the_third_epoch():
    assert rule_of(0.3, 0.3, 0.3).should_prune(job(), progress(0.0)) is None
    rule = rule_of(0.3, 0.3, 0.3, 0.3)
    assert rule.should_prune(job(), progress(0.0, epoch=2)) is None
    assert rule.should_prune(job(), progress(None)) is None
    assert rule.should_prune(job(), progress(0.0, epoch=3)) is not None


def test_a_run_gets_its_reason_once():
    rule = rule_of(0.3, 0.3, 0.3, 0.3)
    assert rule.should_prune(job(), progress(0.0)) is not None
    assert rule.should_prune(job(), progress(0.0)) is None
    assert rule.should_prune(job(), progress(0.0, run_id="other")) is not None


def test_only_done_runs_of_the_same_data_and_protocol_count():
    for other in (rule_of(*[0.3] * 4, data="e"), rule_of(*[0.3] * 4, protocol="q")):
        assert other.should_prune(job(), progress(0.0)) is None
    rule = rule_of(0.3, 0.3, 0.3)
    rule.record(job(), record({1: 0.3, 3: 0.3}, Outcome.PRUNED))
    assert rule.should_prune(job(), progress(0.0)) is None


def test_a_run_counts_with_its_best_so_far_and_not_with_its_end():
    rule = MedianRule()
    for _ in range(4):
        rule.record(job(), record({1: 0.1, 2: 0.3, 3: 0.2, 4: 0.9}))
    assert rule.should_prune(job(), progress(0.29, epoch=3)) is not None
    assert rule.should_prune(job(), progress(0.3, epoch=3)) is None
    # Validated for the first time after this epoch: nothing to compare with.
    late = MedianRule()
    for _ in range(4):
        late.record(job(), record({5: 0.9}))
    assert late.should_prune(job(), progress(0.0, epoch=4)) is None
>>>>>>> main
