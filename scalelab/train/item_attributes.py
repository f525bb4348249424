"""Read a file of item attributes and give each item of a data set its own."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from scalelab.core.errors import DataError
from scalelab.core.item_attributes import read_attributes
from scalelab.datasets.interactions import Interactions

__all__ = ["AttributesOfItems", "ItemAttributes", "load_attributes"]

_HINT = 'write {"item": ["attribute", ...], ...}: item ids as text, attributes as text or numbers'


@dataclass(frozen=True, kw_only=True)
class AttributesOfItems:
    """`own_lists` has a row for padding, then one per item: attributes from 1, int32; 0 fills up.

    `num_unknown` items of the file are not in the data set, `num_without` of the data set not in
    the file.
    """

    own_lists: np.ndarray
    num_unknown: int
    num_without: int


@dataclass(frozen=True, kw_only=True)
class ItemAttributes:
    """What a file says: the attributes (from 1, ascending) of each item by its own id as text.

    `num_attributes` and `most`, of one item, count items that the data set lacks too: they are
    sizes of the model, which must be known before the data are read.
    """

    of_item: dict[str, tuple[int, ...]]
    num_attributes: int
    most: int

    def of(self, interactions: Interactions) -> AttributesOfItems:
        """The attributes of the data set's items. Raises DataError where the file knows none."""
        find = interactions.find_original_ids
        ids = np.arange(1, interactions.num_items + 1) if find is None else find()
        names = [str(each) for each in ids.tolist()]
        own_lists = np.zeros((len(names) + 1, self.most), np.int32)
        found = 0
        for item, name in enumerate(names, start=1):
            own = self.of_item.get(name)
            if own is not None:
                own_lists[item, : len(own)] = own
                found += 1
        if not found:
            theirs = ", ".join(map(repr, list(self.of_item)[:3]))
            raise DataError(
                f"the file of item attributes knows no item of the data set: its items are "
                f"{theirs}, ..., the data set's {', '.join(map(repr, names[:3]))}, ...",
                "write item ids as the data set has them",
            )
        return AttributesOfItems(
            own_lists=own_lists,
            num_unknown=len(self.of_item) - found,
            num_without=len(names) - found,
        )


def load_attributes(file: Path) -> ItemAttributes:
    """Read JSON, packed or not. Raises DataError, SpecError."""
    state = file.stat()
    return _load(file.absolute(), state.st_size, state.st_mtime_ns)


# A prediction reads the same file for each of its steps.
@lru_cache(maxsize=4)
def _load(file: Path, _size: int, _changed: int) -> ItemAttributes:
    try:
        content = json.loads(read_attributes(file))
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}", _HINT) from error
    if not isinstance(content, dict):
        raise DataError(f"{file} holds no object with an entry per item", _HINT)
    lists = {str(item): _names(file, item, value) for item, value in content.items()}
    known = sorted({name for names in lists.values() for name in names}, key=_in_order)
    if not known:
        raise DataError(f"{file} gives no item an attribute", _HINT)
    number = {name: place for place, name in enumerate(known, start=1)}
    return ItemAttributes(
        of_item={item: tuple(sorted(number[n] for n in names)) for item, names in lists.items()},
        num_attributes=len(known),
        most=max(map(len, lists.values())),
    )


def _names(file: Path, item: str, value: Any) -> set[str | int]:
    """The attributes of one item, each once."""
    plain = isinstance(value, list) and all(
        isinstance(each, str | int) and not isinstance(each, bool) for each in value
    )
    if not plain:
        shown = json.dumps(value)
        shown = shown if len(shown) <= 40 else f"{shown[:40]}..."
        raise DataError(f"{file}: the attributes of item {item!r} are {shown}, not a list", _HINT)
    return set(value)


def _in_order(name: str | int) -> tuple[bool, int, str]:
    return (True, 0, name) if isinstance(name, str) else (False, name, "")
