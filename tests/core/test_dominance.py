"""The Pareto front against its definition."""

from hypothesis import given
from hypothesis import strategies as st

from scalelab.core.dominance import beats, pareto_front

POINTS = st.lists(st.none() | st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20)


@given(points=POINTS)
def test_the_front_is_what_no_other_point_beats(points):
    """With many ties and points that are not known."""
    wanted = [
        place
        for place, one in enumerate(points)
        if one is not None and not any(other is not None and beats(other, one) for other in points)
    ]
    assert pareto_front(points) == wanted


def test_no_point_beats_its_equal():
    assert not beats((1, 1), (1, 1))
    assert beats((2, 1), (1, 1))
    assert beats((1, 0), (1, 1))
    assert not beats((2, 2), (1, 1))
