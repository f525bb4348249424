"""Only choices that no other covers are kept."""

from itertools import permutations
from typing import NamedTuple

import pytest

from scalelab.batches.largest import not_exceeded


class Choice(NamedTuple):
    name: str
    shape: tuple[int, ...]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_what_another_exceeds_in_every_size_is_left_out_in_any_order(order):
    wide, long, small, both = (
        Choice("wide", (1, 9)),
        Choice("long", (9, 1)),
        Choice("small", (1, 1)),
        Choice("both", (5, 5)),
    )
    choices = [wide, long, small, both]
    assert not_exceeded(choices[place] for place in order) == (wide, both, long)


def test_of_equal_ones_the_first_is_kept():
    first, second = Choice("first", (2, 3)), Choice("second", (2, 3))
    assert not_exceeded([first, second]) == (first,)
    assert not_exceeded([]) == ()
