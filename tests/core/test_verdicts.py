"""A run that ended on the popularity plateau, or too early, is told apart from one that did not."""

import pytest

from scalelab.core.verdicts import above_baseline, at_baseline, still_rising

# Validation NDCG@10 as they were measured; the popularity list has 0.0305.
PLATEAU = [0.0296, 0.0312, 0.0284, 0.0298, 0.0283]
RISING = [0.031, 0.030, 0.029, 0.128, 0.244]
DONE = [0.031, 0.128, 0.244, 0.295, 0.318, 0.333, 0.337, 0.336]


@pytest.mark.parametrize(
    ("valid", "popularity", "expected"),
    [
        (PLATEAU, 0.0305, True),
        (RISING, 0.0305, False),
        ([0.0335], 0.0305, True),
        ([0.0336], 0.0305, False),
        ([0.04, 0.01], 0.0305, False),
        (PLATEAU, None, False),
        ([], 0.0305, False),
    ],
)
def test_at_the_baseline(valid: list[float], popularity: float | None, expected: bool) -> None:
    assert at_baseline(valid, popularity) is expected


def test_above_means_a_tenth_above() -> None:
    assert not above_baseline(0.11, 0.1)
    assert above_baseline(0.1101, 0.1)


@pytest.mark.parametrize(
    ("valid", "stopped", "expected"),
    [
        (RISING, "epochs", True),
        (RISING, "time", True),
        (RISING, None, True),
        (RISING, "patience", False),
        (DONE, "epochs", True),
        ([*DONE, 0.338, 0.337, 0.338, 0.336], "epochs", False),
        (PLATEAU, "epochs", False),
        ([0.2, 0.201], "epochs", False),
        ([0.2, 0.203], "epochs", True),
        ([0.2], "epochs", False),
        ([], None, False),
    ],
)
def test_still_rising(valid: list[float], stopped: str | None, expected: bool) -> None:
    assert still_rising(valid, stopped) is expected
