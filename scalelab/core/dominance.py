"""Find the points that no other beats in both quality and cost (the Pareto front)."""

from collections.abc import Sequence

__all__ = ["BEST_FIRST", "MAY_WIN", "beats", "pareto_front"]

# Conditions and orders in SQL over the view `configurations`. A configuration that lost seeds is
# never the best, on no Pareto front and covers none: the seeds that are left may be the lucky ones.
MAY_WIN = "num_lost = 0 AND valid_quality IS NOT NULL"
# Where all are shown it comes after the others.
BEST_FIRST = "num_lost > 0, valid_quality DESC NULLS LAST"

Point = tuple[float, float]


def beats(one: Point, other: Point) -> bool:
    """Whether `one` is no worse than `other` in quality and in cost, and better in one of them.

    A point is (quality, cost): more quality is better, less cost is.
    """
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def pareto_front(points: Sequence[Point | None]) -> list[int]:
    """Places of the points that no other beats, in order. None (a figure that could not be read)
    is neither on the Pareto front nor beats anything; equal points are on it together.
    """
    known = [(place, point) for place, point in enumerate(points) if point is not None]
    # By cost, and the best first among equals: a point stays if it is better than all before it.
    known.sort(key=lambda pair: (pair[1][1], -pair[1][0]))
    found: list[int] = []
    best: Point | None = None
    for place, point in known:
        if best is None or point[0] > best[0] or point == best:
            found.append(place)
            best = point
    return sorted(found)
