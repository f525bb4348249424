"""Mark the best and the second figure of a ranking, as they are printed."""

from collections.abc import Mapping
from typing import Any

__all__ = ["BEST", "DIGITS", "RANKED", "SECOND", "marks_of"]

BEST = "best"
SECOND = "second"
DIGITS = 4
# Metrics of which more is better; a list of popular items is not better than another.
RANKED = ("ndcg", "hr", "recall", "mrr", "coverage")


def marks_of(figures: Mapping[Any, float]) -> dict[Any, str]:
    """`best` and `second` by the key of a figure; larger is better.

    Figures that are printed alike are equal: they share a mark, and after a shared `best` there is
    no `second`. A figure that is printed as zero, or that all share, is not marked.
    """
    printed = {key: round(value, DIGITS) for key, value in figures.items()}
    steps = sorted(set(printed.values()), reverse=True)
    if len(steps) < 2 or steps[0] <= 0:
        return {}
    marks = {key: BEST for key, value in printed.items() if value == steps[0]}
    if len(marks) == 1 and steps[1] > 0:
        marks |= {key: SECOND for key, value in printed.items() if value == steps[1]}
    return marks
