"""Sizes and durations from text and back."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalelab.core import units
from scalelab.core.errors import SpecError
from scalelab.core.units import (
    GIB,
    format_bytes,
    format_range,
    format_seconds,
    parse_bytes,
    parse_count,
    parse_seconds,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("300MiB", 300 * 2**20),
        ("8GB", 8 * 10**9),
        ("8G", 8 * GIB),
        ("1.5 GiB", 3 * 2**29),
        ("7B", 7),
        (7, 7),
    ],
)
def test_a_size_has_one_meaning(text: str | int, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["8GB?", "0", "-1GiB", "", "GiB", "1e9", "8 pounds", "0.1B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="size") as caught:
        parse_bytes(text)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (90, 90),
        (1.5, 1.5),
        ("90s", 90),
        ("10min", 600),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1d", 86400),
    ],
)
def test_a_duration_has_one_meaning(text: str | float, seconds: float) -> None:
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
    ("seconds", "text"),
    [
        (0.0082, "8.2 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (12.34, "12.3 s"),
        (245, "4m 05s"),
        (7620, "2h 07m"),
    ],
)
def test_seconds_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


@pytest.mark.parametrize("parse", [parse_bytes, parse_seconds])
@pytest.mark.parametrize("text", ["8", "0.5", " 10 "])
def test_a_number_alone_is_asked_for_its_unit(parse: Callable, text: str) -> None:
    with pytest.raises(SpecError, match="which unit") as caught:
        parse(text)
    offered = caught.value.hint.removeprefix("write ").replace(" or ", ", ").split(", ")
    assert len(offered) == 3
    assert len({parse(each) for each in offered}) == 3


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("2M", 2_000_000),
        ("300k", 300_000),
        ("1.5m", 1_500_000),
        ("1_000_000", 10**6),
        ("2,000,000", 2 * 10**6),
        (7, 7),
        ("1b", 10**9),
        ("2bn", 2 * 10**9),
    ],
)
def test_a_number_of_items_has_one_meaning(text: str | int, count: int) -> None:
    assert parse_count(text) == count


@pytest.mark.parametrize("text", ["", "0", "many", "-3", "1.5", "2 GiB", "M", "0.0001k"])
def test_what_is_no_number_of_items_is_refused(text: str) -> None:
    with pytest.raises(SpecError, match="invalid number") as caught:
        parse_count(text)
    assert "2M" in caught.value.hint


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (0.00913, 0.0235, "9.1 to 24 ms"),
        (0.5, 12.3, "500 ms to 12 s"),
        (1511, 16900, "25 min to 4.7 h"),
        (9540, 120500, "2.6 to 33 h"),
        (12, 12.2, "12 s"),
        (86400, 864000, "24 h to 10 days"),
        (9.96, 59, "10 to 59 s"),
    ],
)
def test_a_range_is_short(low: float, high: float, text: str) -> None:
    assert format_range(low, high) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100 %"),
        (0.9999, "99.9 %"),
        (0.9951, "99.5 %"),
        (0.994, "99 %"),
        (0.59, "59 %"),
        (0.0324, "3.2 %"),
        (1.2, "120 %"),
    ],
)
def test_less_than_all_is_never_100_percent(share, text):
    assert units.format_share(share) == text
