"""Which configurations have to run, with which attempt, and in which order."""

import pytest

from scalelab.core.errors import SpecError
from scalelab.core.records import Outcome
from scalelab.core.spec import RunSpec
from scalelab.store.ledger import Attempt
from scalelab.studies.forecast import Forecast
from scalelab.studies.grid import Configuration, repeat_of
from scalelab.sweeping.jobs import Planner, in_order, outcomes_to_rerun

SPEC = RunSpec.load("sasrec-synthetic", {"device.name": "cpu"})
BASE = Configuration(spec=SPEC, label="base")
FINGERPRINT = SPEC.fingerprint("data")


def planner(outcome=None, attempt=1, last_attempt=None, rerun=(), forecast=None):
    known = {}
    if outcome is not None:
        known[FINGERPRINT] = Attempt(
            fingerprint=FINGERPRINT,
            run_id="r",
            study_id=None,
            outcome=outcome,
            attempt=attempt,
            last_attempt=last_attempt or attempt,
        )
    return Planner(
        attempts=known,
        rerun=rerun,
        fingerprint=lambda data: "data",
        forecast=lambda specs: [forecast] * len(specs),
    )


@pytest.mark.parametrize(
    ("outcome", "due", "attempt"),
    [
        (None, True, 1),
        (Outcome.DONE, False, 2),
        (Outcome.OOM, False, 2),
        (Outcome.FAILED, False, 2),
        (Outcome.PRUNED, False, 2),
        # What was ended from outside runs again, as a new attempt.
        (Outcome.RUNNING, True, 4),
        (Outcome.INTERRUPTED, True, 4),
        # What never ran keeps its number.
        (Outcome.SKIPPED, True, 2),
    ],
)
def test_what_the_ledger_knows_decides(outcome, due, attempt):
    (job,) = planner(outcome, attempt=2, last_attempt=3).jobs([BASE])
    assert (job.due, job.attempt) == (due, attempt)
    assert job.run_id == f"{FINGERPRINT}-{attempt}"
    assert (job.earlier_outcome is None) is due


@pytest.mark.parametrize(
    ("word", "again"),
    [
        (None, set()),
        ("failed", {Outcome.FAILED}),
        ("oom", {Outcome.OOM}),
        ("all", {Outcome.DONE, Outcome.OOM, Outcome.FAILED, Outcome.PRUNED}),
    ],
)
def test_rerun_names_the_outcomes_that_run_again(word, again):
    for outcome in (Outcome.DONE, Outcome.OOM, Outcome.FAILED, Outcome.PRUNED):
        (job,) = planner(outcome, rerun=outcomes_to_rerun(word)).jobs([BASE])
        assert job.due is (outcome in again)
    with pytest.raises(SpecError, match="invalid --rerun: 'faild'"):
        outcomes_to_rerun("faild")


def test_what_is_too_large_is_skipped_unless_it_is_done():
    large = Forecast(total_bytes=1, seconds=1.0, too_large="too large")
    (job,) = planner(forecast=large).jobs([BASE])
    assert not job.due
    assert job.skipped_because == "too large"
    (job,) = planner(Outcome.DONE, forecast=large).jobs([BASE])
    assert job.skipped_because is None


def test_each_data_set_and_configuration_is_looked_at_once():
    calls = []
    counting = Planner(
        attempts={},
        rerun=(),
        fingerprint=lambda data: calls.append("data") or "data",
        forecast=lambda specs: calls.append(len(specs)) or [None] * len(specs),
    )
    counting.jobs([BASE, repeat_of(BASE, 1)])
    counting.jobs([BASE, repeat_of(BASE, 1), repeat_of(BASE, 2)])
    assert calls == ["data", 2, 1]


def jobs_of(*seconds):
    """Two seeds of one configuration per prediction; the label says which and which seed."""
    made = []
    for repeat in (0, 1):
        for index, predicted in enumerate(seconds):
            label = f"{index}/{repeat}"
            spec = SPEC.with_({"batch.size": index + 1, "train.seed": repeat})
            configuration = Configuration(spec=spec, label=label, repeat=repeat)
            forecast = None if predicted is None else Forecast(total_bytes=1, seconds=predicted)
            made += planner(forecast=forecast).jobs([configuration])
    return made


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("given", ["0", "1", "2", "3"]),
        # What has no prediction counts as nothing; equal predictions keep their order.
        ("cost", ["2", "1", "3", "0"]),
        ("costly", ["0", "1", "3", "2"]),
    ],
)
def test_jobs_are_ordered_by_cost_within_each_seed(order, expected):
    ordered = [job.configuration.label for job in in_order(jobs_of(3.0, 2.0, None, 2.0), order)]
    assert ordered == [f"{index}/{repeat}" for repeat in (0, 1) for index in expected]


def test_a_random_order_is_the_same_each_time_and_keeps_seeds_apart():
    jobs = jobs_of(*[1.0] * 8)
    first, second = (
        [job.configuration.label for job in in_order(jobs, "random")] for _ in range(2)
    )
    assert first == second
    assert first != [job.configuration.label for job in jobs]
    assert [label[-1] for label in first] == ["0"] * 8 + ["1"] * 8
