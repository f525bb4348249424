"""Find the configurations that no other beats in both quality and memory (the Pareto front)."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from scalelab.core.dominance import beats

__all__ = ["ParetoFront", "ParetoFronts", "Point", "budgets_around"]


class Measured(Protocol):
    """What a Pareto front needs of a finished run."""

    @property
    def valid(self) -> float | None: ...
    @property
    def test(self) -> float | None: ...
    @property
    def peak_bytes(self) -> int | None: ...
    @property
    def eval_peak_bytes(self) -> int | None: ...
    @property
    def train_s(self) -> float | None: ...
    @property
    def note(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Point:
    """One configuration, with means over its seeds.

    `needed_bytes` is what a run of it must be given: the highest peak of any, evaluation counted.
    Only points of one `comparison` (data set, split, device) compare.
    """

    comparison: tuple[str, ...]
    label: str
    seeds: int
    valid: float
    test: float | None
    peak_bytes: int
    needed_bytes: int
    train_s: float | None
    note: str

    def beats(self, other: "Point") -> bool:
        """Whether this is no worse in quality and memory, and better in one of them."""
        return beats((self.valid, self.peak_bytes), (other.valid, other.peak_bytes))


class ParetoFront:
    """The Pareto front of the runs added so far; an addition seldom compares all points."""

    def __init__(self, comparison: tuple[str, ...] = ()) -> None:
        self._comparison = comparison
        self._runs: dict[str, list[Measured]] = {}
        self._all: dict[str, Point] = {}
        self._best: dict[str, Point] = {}
        self._lost: set[str] = set()

    def add(self, settings: str, label: str, run: Measured) -> None:
        """A run of the configuration `settings`; it counts if it has a quality and a peak."""
        if run.valid is None or run.peak_bytes is None:
            return
        runs = self._runs.setdefault(settings, [])
        runs.append(run)
        label = self._all[settings].label if settings in self._all else label
        point = _mean(self._comparison, label, runs)
        self._all[settings] = point
        # A point that leaves the Pareto front or worsens may uncover others; a new one only covers.
        if settings in self._best:
            self._compare_all()
        else:
            self._insert(settings, point)

    def lose(self, settings: str) -> None:
        """A seed of a configuration ended without a result: it is not on the Pareto front, as in
        the ledger.
        """
        self._lost.add(settings)
        if settings in self._best:
            self._compare_all()

    def points(self) -> tuple[Point, ...]:
        """The Pareto front, best quality first."""
        return tuple(sorted(self._best.values(), key=lambda point: -point.valid))

    def _compare_all(self) -> None:
        self._best = {}
        for key, candidate in self._all.items():
            self._insert(key, candidate)

    def _insert(self, key: str, point: Point) -> None:
        if key in self._lost:
            return
        if any(other.beats(point) for other in self._best.values()):
            return
        self._best = {k: other for k, other in self._best.items() if not point.beats(other)}
        self._best[key] = point


class ParetoFronts:
    """A Pareto front for each comparison, added to and read as one."""

    def __init__(self) -> None:
        self._fronts: dict[tuple[str, ...], ParetoFront] = {}
        self._lost: set[str] = set()

    def add(self, comparison: tuple[str, ...], settings: str, label: str, run: Measured) -> None:
        """A run of the configuration `settings`."""
        if comparison not in self._fronts:
            self._fronts[comparison] = ParetoFront(comparison)
            for lost in self._lost:
                self._fronts[comparison].lose(lost)
        self._fronts[comparison].add(settings, label, run)

    def lose(self, settings: str) -> None:
        """A seed of this configuration ended without a result. Where is not always known."""
        self._lost.add(settings)
        for front in self._fronts.values():
            front.lose(settings)

    def points(self) -> tuple[Point, ...]:
        """All Pareto fronts, each with the best quality first."""
        return tuple(point for front in self._fronts.values() for point in front.points())


def budgets_around(budget_bytes: int | None, points: Sequence[Point]) -> tuple[int, ...]:
    """The budget, a half of it, a quarter and so on; without one, powers of two.

    All are large enough for the cheapest point.
    """
    if not points:
        return ()
    sizes = [point.needed_bytes for point in points]
    top = budget_bytes
    if top is None:
        top = 1 << (max(sizes) - 1).bit_length()
    budgets: list[int] = []
    while top >= min(sizes) and len(budgets) < 8:
        budgets.append(top)
        top //= 2
    return tuple(budgets)


def _mean(comparison: tuple[str, ...], label: str, runs: list[Measured]) -> Point:
    return Point(
        comparison=comparison,
        label=label,
        seeds=len(runs),
        valid=_average([run.valid for run in runs]) or 0.0,
        test=_average([run.test for run in runs]),
        peak_bytes=round(_average([run.peak_bytes for run in runs]) or 0),
        needed_bytes=max(max(run.peak_bytes or 0, run.eval_peak_bytes or 0) for run in runs),
        train_s=_average([run.train_s for run in runs]),
        note=_note([run.note for run in runs]),
    )


def _note(notes: list[str]) -> str:
    """The notes of the runs, with the number of those that each is on where it is not all."""
    count = Counter(one for note in notes for one in note.split("; ") if one)
    return "; ".join(
        note if number == len(notes) else f"{note} ({number} of {len(notes)} seeds)"
        for note, number in count.items()
    )


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
