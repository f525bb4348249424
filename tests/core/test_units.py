"""Sizes and durations from text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.core.errors import SpecError
from scalelab.core.units import GIB, format_bytes, format_seconds, parse_bytes, parse_seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("300MiB", 300 * 2**20),
        ("8GB", 8 * 10**9),
        ("8G", 8 * GIB),
        ("1.5 GiB", 3 * 2**29),
        ("7", 7),
    ],
)
def test_a_size_has_one_meaning(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["8GB?", "0", "-1GiB", "", "GiB", "1e9", "8 pounds", "0.1"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="size") as caught:
        parse_bytes(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10min", 600), ("2h", 7200), ("1h30m", 5400), ("1d", 86400)],
)
def test_a_duration_has_one_meaning(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["soon", "", "0s", "5 fortnights", "-3s", "1h?", "10mm"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="duration"):
        parse_seconds(text)


@given(st.integers(1, 2**50))
def test_what_is_shown_can_be_read_again(size: int) -> None:
    shown = parse_bytes(format_bytes(size).replace(" ", ""))
    assert shown == pytest.approx(size, rel=0.006)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0082, "8.2 ms"), (12.34, "12.3 s"), (245, "4m 05s"), (7620, "2h 07m")]
)
def test_seconds_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
