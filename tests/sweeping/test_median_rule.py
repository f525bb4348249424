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
    metrics = [
        Metric(split="valid", epoch=epoch, name="ndcg", k=10, value=value)
        for epoch, value in curve.items()
    ]
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
