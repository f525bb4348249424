"""A range of an axis becomes values between its ends, in the logarithm where it says so."""

import itertools
import math

import pytest

from scalelab.core.errors import SpecError
from scalelab.core.ranges import with_ranges


def values_of(given: object) -> list:
    return with_ranges({"axes": {"key": given}, "search": {}}, "s.toml")["axes"]["key"]


@pytest.mark.parametrize(
    ("given", "ratio"),
    [
        ({"min": 1e-4, "max": 1e-2, "log": True}, 100 ** (1 / 24)),
        ({"min": 1e-5, "max": 1.0, "log": True}, 1e5 ** (1 / 24)),
        ({"min": 1, "max": 10.0, "log": True}, 10 ** (1 / 24)),
    ],
)
def test_neighbours_are_equally_far_apart_in_the_logarithm(given: dict, ratio: float) -> None:
    values = values_of(given)
    assert (values[0], values[-1], len(values)) == (given["min"], given["max"], 25)
    for low, high in itertools.pairwise(values):
        assert math.isclose(high / low, ratio, rel_tol=0.02)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ({"min": 1, "max": 4}, [1, 2, 3, 4]),
        ({"min": 1, "max": 1024, "log": True}, None),
        ({"min": 0.0, "max": 0.24}, [round(0.01 * n, 2) for n in range(25)]),
        ([3, 1], [3, 1]),
    ],
)
def test_whole_ends_give_whole_numbers(given: object, values: list | None) -> None:
    found = values_of(given)
    if values is None:
        assert found[:4] == [1, 2, 3, 4]
        assert found[-1] == 1024
        assert all(isinstance(n, int) for n in found)
    else:
        assert found == values


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"min": 1}, "needs the numbers min and max"),
        ({"min": 2, "max": 1}, "is not below"),
        ({"min": 0, "max": 1, "log": True}, "has no logarithm"),
        ({"min": 0, "max": 1, "lgo": True}, "no key 'lgo'"),
        ({"min": "a", "max": 1}, "needs the numbers"),
        ({"min": 0, "max": float("inf")}, "needs the numbers"),
        ({"min": 0, "max": 1, "log": 1}, "needs the numbers"),
    ],
)
def test_a_bad_range_is_one_line(given: dict, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        values_of(given)
    assert caught.value.hint


def test_a_range_is_for_a_search() -> None:
    with pytest.raises(SpecError, match=r"no \[search\]"):
        with_ranges({"axes": {"train.learning_rate": {"min": 0.1, "max": 1}}}, "s.toml")
