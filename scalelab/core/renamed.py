"""Know the keys of a run that have been renamed, old name to new."""

from collections.abc import Mapping
from typing import Any, cast

__all__ = ["RENAMED", "new_name", "with_new_names", "with_new_names_in_study"]

# By table of a run.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "loss": {
        "form": "reduction",
        "mask_hits": "remove_accidental_hits",
        "positions": "train_on",
    },
}
_KEYS = {
    f"{table}.{old}": f"{table}.{new}"
    for table, names in RENAMED.items()
    for old, new in names.items()
}


def new_name(table: str, key: str) -> str | None:
    """What `key` of a run's table is called today; None where it was not renamed."""
    return RENAMED.get(table, {}).get(key)


def with_new_names(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a stored spec with the keys of today."""
    return {name: _renamed(name, value) for name, value in tables.items()}


def with_new_names_in_study(tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables of a stored study with the keys of today, dotted ones and whole tables alike."""
    renamed = dict(tables)
    for part in ("set", "axes"):
        if part in tables:
            renamed[part] = _changes(tables[part])
    if "cells" in tables:
        renamed["cells"] = [_changes(cell) for cell in tables["cells"]]
    final: dict[str, Any] = tables.get("final", {})
    if final.get("per") in _KEYS:
        renamed["final"] = {**final, "per": _KEYS[final["per"]]}
    return renamed


def _changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration sets, or an axis varies: keys such as `loss.form`, or tables."""
    return {_KEYS.get(key, key): _renamed(key, value) for key, value in changes.items()}


def _renamed(table: str, value: Any) -> Any:
    """The value of a whole table (or a list of some) with new keys; any other as it is."""
    if isinstance(value, dict):
        own = cast("dict[str, Any]", value)
        return {new_name(table, key) or key: each for key, each in own.items()}
    if isinstance(value, list):
        return [_renamed(table, each) for each in cast("list[Any]", value)]
    return value
