"""Place the labels of points so that they cover neither each other nor many points."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

__all__ = ["Label", "along_steps", "place"]

_CHARACTER = 6.4
_HEIGHT = 13.0
_Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Label:
    """A word at its point, in pixels from the top left; dx and dy lead from point to word."""

    text: str
    x: float
    y: float
    dx: float = 0.0
    dy: float = 0.0


def place(
    labels: Sequence[Label], points: Sequence[tuple[float, float]], width: float, height: float
) -> list[Label]:
    """Each label moved to the nearest free place around its point, the first in the list first."""
    taken: list[_Box] = []
    placed: list[Label] = []
    for label in labels:
        half = len(label.text) * _CHARACTER / 2
        best = min(
            _candidates(label, half),
            key=lambda move: _cost(
                _box(label, move, half),
                move,
                taken=taken,
                points=points,
                width=width,
                height=height,
            ),
        )
        taken.append(_box(label, best, half))
        moved = Label(text=label.text, x=label.x, y=label.y, dx=best[0], dy=best[1])
        placed.append(moved)
    return placed


def _candidates(label: Label, half: float) -> list[tuple[float, float]]:
    sides = [(0.0, -14.0), (half + 10, 0.0), (-half - 10, 0.0), (0.0, 14.0)]
    corners = [
        (s * (half + 8), t * d) for d in (12.0, 26.0, 42.0, 58.0) for t in (-1, 1) for s in (1, -1)
    ]
    return sides + corners + [(0.0, t * d) for d in (28.0, 44.0, 60.0) for t in (-1, 1)]


def _box(label: Label, move: tuple[float, float], half: float) -> _Box:
    x, y = label.x + move[0], label.y + move[1]
    return (x - half, y - _HEIGHT / 2, x + half, y + _HEIGHT / 2)


def _cost(
    box: _Box,
    move: tuple[float, float],
    *,
    taken: Sequence[_Box],
    points: Sequence[tuple[float, float]],
    width: float,
    height: float,
) -> float:
    left, top, right, bottom = box
    outside = max(0.0, -left, -top, right - width, bottom - height)
    overlaps = sum(
        left < other[2] and other[0] < right and top < other[3] and other[1] < bottom
        for other in taken
    )
    covered = sum(left - 3 < x < right + 3 and top - 3 < y < bottom + 3 for x, y in points)
    distance = abs(move[0]) / 3 + abs(move[1])
    return 1000 * overlaps + 100 * outside + 12 * covered + distance


def along_steps(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Points along the steps that join `corners`, for labels to keep clear of."""
    found: list[tuple[float, float]] = []
    for (x0, y0), (x1, y1) in pairwise(sorted(corners)):
        found += [(x0 + n * 8.0, y0) for n in range(int((x1 - x0) / 8) + 1)]
        found += [(x1, min(y0, y1) + n * 8.0) for n in range(int(abs(y1 - y0) / 8) + 1)]
    return found
