"""Find the figures of a table that differ from those of the first row by more than chance."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.findings.bootstrap import DRAWS, LEVEL, adjusted, draws_for, paired_bootstrap
from scalelab.findings.user_ranks import comparable, has_gains, user_gains
from scalelab.result_tables.candidates import Candidate
from scalelab.result_tables.grouping import Grouped
from scalelab.store.ledger import Ledger

__all__ = ["Significance", "significance_of"]

_Where = tuple[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Significance:
    """What was tested. `p_values` are by row, column and metric, corrected; `differs` are those
    of them that chance does not explain. `first` are the rows and columns compared with: in each
    data set and device the first on validation. `untested` counts what had no ranks of users.
    """

    first: frozenset[_Where]
    p_values: dict[tuple[Any, Any, str], float]
    differs: frozenset[tuple[Any, Any, str]]
    untested: int


def significance_of(ledger: Ledger, grouped: Grouped, metrics: Sequence[str]) -> Significance:
    """Compare each configuration with the first on validation of its data, metric by metric.

    A paired bootstrap over the test users, with Holm's correction for the comparisons of one metric
    on one data set. What lies within the spread over seeds does not count as different.
    """
    first: set[_Where] = set()
    p_values: dict[tuple[Any, Any, str], float] = {}
    differs: set[tuple[Any, Any, str]] = set()
    untested = 0
    for metric in filter(has_gains, metrics):
        known = user_gains(ledger, {one.key for one in grouped.chosen.values()}, metric)
        for place in grouped.places:
            own = {where: one for where, one in grouped.chosen.items() if one.place == place}
            start = min(own, key=lambda where: own[where].rank, default=None)
            if start is None or len(own) < 2:
                continue
            first.add(start)
            base = known.get(own.pop(start).key)
            gains = {
                where: found
                for where, one in own.items()
                if base is not None
                and (found := known.get(one.key)) is not None
                and comparable(found, base)
            }
            draws = draws_for(len(gains))
            tested = {
                where: paired_bootstrap(
                    base.sums, found.sums, num_lists=base.num_lists, draws=draws, enough=DRAWS
                ).p_value
                for where, found in gains.items()
                if base is not None
            }
            untested += len(own) - len(tested)
            corrected = dict(zip(tested, adjusted([*tested.values()]), strict=True))
            for (row, column), p_value in corrected.items():
                p_values[row, column, metric] = p_value
                if p_value < LEVEL and _is_clear(grouped.chosen[start], own[row, column], metric):
                    differs.add((row, column, metric))
    return Significance(
        first=frozenset(first), p_values=p_values, differs=frozenset(differs), untested=untested
    )


def _is_clear(one: Candidate, other: Candidate, metric: str) -> bool:
    """Whether two means are further apart than the spread over seeds, where that is known."""
    figures = (one.figures.get(metric), other.figures.get(metric))
    if figures[0] is None or figures[1] is None:
        return False
    spreads = [figure.std for figure in figures if figure is not None and figure.std is not None]
    return abs(figures[0].mean - figures[1].mean) > max(spreads, default=0.0)
