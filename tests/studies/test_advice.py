"""Why advice leaves a configuration out, and when it validates weights without their average."""

from dataclasses import replace
from pathlib import Path

import pytest

from scalelab.core.spec import RunSpec
from scalelab.studies import advice
from scalelab.studies.predictions import Scale
from scalelab.studies.schedule import Schedule

REQUEST = advice.Request(
    data=None,
    base=None,
    on="cpu",
    memory_bytes=None,
    scale=Scale(num_items=100),
    hours=2.0,
    headroom=0.0,
    overrides={},
    out=Path("x.toml"),
)


def document(**changes):
    plain = {
        "chosen": False,
        "fits": True,
        "reason": None,
        "needed_bytes": 3 * 2**20,
        "limit_bytes": 2 * 2**20,
    }
    return plain | changes


@pytest.mark.parametrize(
    ("changes", "hours", "reason"),
    [
        ({"chosen": True}, 2.0, None),
        ({"fits": None, "reason": "not predicted"}, 2.0, "not predicted"),
        ({"fits": False}, 2.0, "does not fit: needs 3 MiB, may take 2 MiB"),
        ({}, 2.0, "the others fill 2 hours"),
        ({}, None, "a larger batch of a loss that is compared"),
    ],
)
def test_what_is_left_out_has_its_reason(changes, hours, reason):
    found = advice._why_left_out(document(**changes), replace(REQUEST, hours=hours))
    assert found == reason


def planned(steps, accumulate=1):
    return {
        "seconds": {"step": {"low": 1.0, "high": 1.0}, "evaluation": {"low": 1.0, "high": 1.0}},
        "steps_per_epoch": steps,
        "spec": {"train": {"eval_every": 1, "accumulate": accumulate}},
    }


@pytest.mark.parametrize(
    ("chosen", "decay", "is_left_out"),
    [
        # An average of 0.99 follows after 500 updates: five times 100.
        ([planned(100)], 0.99, False),
        ([planned(99)], 0.99, True),
        ([planned(100), planned(99)], 0.99, True),  # the shortest of all counts
        ([planned(400, accumulate=4)], 0.99, False),
        ([planned(396, accumulate=4)], 0.99, True),
        ([planned(1)], 0.0, False),  # there is none
    ],
)
def test_an_average_that_would_lag_behind_is_left_out(chosen, decay, is_left_out):
    base = RunSpec.load("sasrec-synthetic", {"train.ema_decay": decay})
    schedule = Schedule(epochs=(5, 20), numbers=(4, 2), low_s=1.0, high_s=2.0)
    common = {}
    advice._shorten_average(common, base, schedule, chosen)
    assert common == ({"train.ema_decay": 0.0} if is_left_out else {})


def test_an_average_that_the_user_asked_for_stays():
    base = RunSpec.load("sasrec-synthetic", {"train.ema_decay": 0.99})
    schedule = Schedule(epochs=(1,), numbers=(1,), low_s=1.0, high_s=2.0)
    common = {"train.ema_decay": 0.99}
    advice._shorten_average(common, base, schedule, [planned(1)])
    assert common == {"train.ema_decay": 0.99}
