"""The time to the end of a sweep is a range that narrows with every run that ends."""

import pytest

from scalelab.cli.remaining import Remaining
from scalelab.core.events import Planned


def planned(seconds: float | None, around: tuple[float, float] | None = None) -> Planned:
    return Planned(
        run_id="a",
        label="",
        device="cpu",
        predicted_bytes=None,
        predicted_s=seconds,
        finished_before=False,
        skipped_because=None,
        predicted_range_s=around,
    )


def of(*runs: Planned, workers: int = 1) -> Remaining:
    remaining = Remaining(workers)
    for run in runs:
        remaining.add(run)
    return remaining


def test_before_a_run_has_ended_predictions_are_added_up_and_shared_among_workers() -> None:
    assert of(planned(60), planned(30), workers=3).seconds([]) == (30, 30)


def test_the_range_is_the_widest_of_a_prediction() -> None:
    remaining = of(planned(10, (5, 30)), planned(10, (8, 11)))
    assert remaining.seconds([]) == pytest.approx((10, 60))


def test_a_run_that_ends_corrects_the_predictions_of_the_others_and_narrows_the_range() -> None:
    first = planned(10, (5, 40))
    remaining = of(first, planned(10), planned(20))
    remaining.remove(first)
    remaining.measured(first, 20.0)  # twice as long as predicted
    low, high = remaining.seconds([]) or (0, 0)
    assert low == pytest.approx(60 * 0.5 ** (1 / 2**0.5))
    assert high == pytest.approx(60 * 4 ** (1 / 2**0.5))


def test_what_runs_counts_with_the_rest_of_its_time_and_late_ones_stretch_the_others() -> None:
    assert of(planned(10)).seconds([(planned(10), 4.0)]) == (16, 16)
    # 15 seconds of 10: the others are taken to be late as well, and this one may end now.
    assert of(planned(10)).seconds([(planned(10), 15.0)]) == (15, 15)


def test_runs_without_a_prediction_take_as_long_as_others_took_or_are_unknown() -> None:
    remaining = of(planned(None))
    assert remaining.seconds([]) is None
    remaining.measured(planned(None), 7.0)
    assert remaining.seconds([]) == (7, 7)
