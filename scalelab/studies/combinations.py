"""Cross the axes and `[[cells]]` of a study; each combination is made when it is needed."""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.study import StudySpec

__all__ = ["Combinations", "varied_keys"]

Overrides = dict[str, Any]


class Combinations:
    """The keys that each configuration of a study sets, in the order of the file.

    `overrides` win over the study; one that names an axis takes the place of its values. `axes` are
    the axes that are left. Raises SpecError for an axis without values.
    """

    def __init__(self, study: StudySpec, overrides: Mapping[str, Any]) -> None:
        for key, values in study.axes.items():
            if not values:
                raise SpecError(
                    f"{study.name}: the axis {key!r} has no values", "give it at least one"
                )
            if any(key in fixed for fixed in study.cells):
                hint = "take it out of one of them"
                raise SpecError(f"{study.name}: {key!r} is both an axis and set in [[cells]]", hint)
        self.axes = {key: values for key, values in study.axes.items() if key not in overrides}
        self._cells = study.cells or ({},)
        self._overrides = overrides
        self._sizes = sizes = [len(self._cells), *map(len, self.axes.values())]
        # A search may choose among more than `len` can count.
        self.number = math.prod(sizes)
        # By how much a place grows when the `[[cells]]`, or an axis, take the next value.
        self.strides = [math.prod(sizes[each + 1 :]) for each in range(len(sizes))]

    def at(self, place: int) -> Overrides:
        """The combination at this place, from 0."""
        first, *steps = self.strides
        chosen = {
            key: values[place // step % len(values)]
            for (key, values), step in zip(self.axes.items(), steps, strict=True)
        }
        return {**self._cells[place // first], **chosen, **self._overrides}

    def __iter__(self) -> Iterator[Overrides]:
        return map(self.at, range(self.number))

    def varied(self) -> list[str]:
        """As `varied_keys` of all combinations, from those that differ from the first in one."""
        by_size = zip(self.strides, self._sizes, strict=True)
        places = (step * value for step, size in by_size for value in range(size))
        return varied_keys(map(self.at, places))


def varied_keys(combined: Iterable[Overrides]) -> list[str]:
    """The keys that have more than one value (or are missing somewhere), in the order met.

    Without the options that follow from the name of their part: all with that name share them.
    """
    all_of_them = list(combined)
    keys = dict.fromkeys(key for chosen in all_of_them for key in chosen)
    varied = [key for key in keys if len({repr(chosen.get(key)) for chosen in all_of_them}) > 1]
    return [key for key in varied if not _follows_from_name(key, varied, all_of_them)]


def _follows_from_name(key: str, varied: Iterable[str], combined: Iterable[Overrides]) -> bool:
    name = f"{key.partition('.')[0]}.name"
    if key == name or name not in varied:
        return False
    pairs = {(repr(chosen.get(name)), repr(chosen.get(key))) for chosen in combined}
    return len(pairs) == len({name for name, _ in pairs})
