"""Put configurations into rows and columns, so that no column mixes what cannot be compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scalelab.core.errors import SpecError, nearest
from scalelab.core.figures import metric_name
from scalelab.core.identity import COMPARABLE
from scalelab.result_tables.candidates import Candidate, Class

__all__ = ["DATASET", "Grouped", "group"]

# This key stands for all that decides whether results compare: data, protocol, device, version.
DATASET = "dataset"
_WORDS: dict[str, Callable[[Any], str]] = {
    "device": str,
    "protocol": str,
    "results_version": "results version {}".format,
    "quality_metric": lambda metric: f"by {metric_name(metric)}",
}
_Key = tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Grouped:
    """The best candidate on validation of each row and column, and how many it was chosen from.

    `rows` and `columns` are the keys in order, with texts of their values; `places` names each
    class of comparable results.
    """

    rows: dict[_Key, tuple[str, ...]]
    columns: dict[_Key, tuple[str, ...]]
    chosen: dict[tuple[_Key, _Key], Candidate]
    numbers: dict[tuple[_Key, _Key], int]
    places: dict[Class, str]


def group(found: Sequence[Candidate], rows: Sequence[str], columns: Sequence[str]) -> Grouped:
    """Raises SpecError for a key that no configuration has."""
    for name in (*rows, *columns):
        _check(name, found)
    places = _places(found)
    if DATASET not in rows and DATASET not in columns:
        columns = (DATASET, *columns) if len(places) > 1 else columns
    members: dict[tuple[_Key, _Key], list[Candidate]] = {}
    for one in found:
        members.setdefault((_key(one, rows), _key(one, columns)), []).append(one)
    chosen = {where: min(some, key=lambda one: one.rank) for where, some in members.items()}
    return Grouped(
        rows=_texts({row for row, _ in members}, rows, places),
        columns=_texts({column for _, column in members}, columns, places),
        chosen=chosen,
        numbers={where: len(some) for where, some in members.items()},
        places=places,
    )


def _check(name: str, found: Sequence[Candidate]) -> None:
    if all(one.value(name) is None for one in found):
        known = {key for one in found for key in (*one.columns, *one.settings)}
        raise SpecError(f"no configuration has a setting {name!r}", nearest(name, known))


def _key(one: Candidate, names: Sequence[str]) -> _Key:
    return tuple(one.place if name == DATASET else _hashable(one.value(name)) for name in names)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _texts(
    keys: set[_Key], names: Sequence[str], places: dict[Class, str]
) -> dict[_Key, tuple[str, ...]]:
    """The keys in order, numbers by size, each with the text of its values."""
    texts = {
        key: tuple(
            places[value] if name == DATASET else _text(value)
            for name, value in zip(names, key, strict=True)
        )
        for key in keys
    }

    position = {place: number for number, place in enumerate(places)}

    def order(key: _Key) -> tuple[Any, ...]:
        return tuple(
            (0, position[value])
            if name == DATASET
            else (0, value)
            if _is_number(value)
            else (1, text)
            for name, value, text in zip(names, key, texts[key], strict=True)
        )

    return {key: texts[key] for key in sorted(keys, key=order)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _places(found: Sequence[Candidate]) -> dict[Class, str]:
    """A text for each class: the data set, and what differs from others, such as the device.

    They come in the order of `found`: by data set and number of items.
    """
    rows = {one.place: one.columns for one in found}
    named = {place: str(row["dataset"]) for place, row in rows.items()}
    texts: dict[Class, str] = {}
    for place, row in rows.items():
        alike = [other for other in rows if named[other] == named[place]]
        parts = [named[place]]
        if len({rows[other]["num_items"] for other in alike}) > 1:
            parts.append(f"{row['num_items']:,} items")
        for name, words in _WORDS.items():
            index = COMPARABLE.index(name)
            if len({other[index] for other in rows}) > 1:
                parts.append(words(place[index]))
        texts[place] = ", ".join(parts)
    twice = {text for text in texts.values() if [*texts.values()].count(text) > 1}
    return {
        place: f"{text}, data {place[0]}" if text in twice else text
        for place, text in texts.items()
    }
