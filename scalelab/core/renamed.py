"""List the keys of a run that have been renamed, and rename them in stored specs."""

from collections.abc import Mapping
from typing import Any, cast

__all__ = ["RENAMED", "new_name", "with_new_names", "with_new_names_in_study"]

# By section of a run.
RENAMED: Mapping[str, Mapping[str, str]] = {
    "data": {"form": "format"},  # of the reader sessions
    "loss": {
        "form": "reduction",
        "mask_hits": "remove_accidental_hits",
        "positions": "train_on",
    },
}
_KEYS = {
    f"{section}.{old}": f"{section}.{new}"
    for section, names in RENAMED.items()
    for old, new in names.items()
}


def new_name(section: str, key: str) -> str | None:
    """What `key` of a run's section is called today; None where it was not renamed."""
    return RENAMED.get(section, {}).get(key)


def with_new_names(sections: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a stored spec with the keys of today."""
    return {name: _renamed(name, value) for name, value in sections.items()}


def with_new_names_in_study(sections: Mapping[str, Any]) -> dict[str, Any]:
    """The sections of a stored study with the keys of today, dotted or in whole sections."""
    renamed = dict(sections)
    for part in ("set", "axes"):
        if part in sections:
            renamed[part] = _changes(sections[part])
    if "cells" in sections:
        renamed["cells"] = [_changes(cell) for cell in sections["cells"]]
    final: dict[str, Any] = sections.get("final", {})
    if final.get("per") in _KEYS:
        renamed["final"] = {**final, "per": _KEYS[final["per"]]}
    return renamed


def _changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration sets, or an axis varies: keys such as `loss.form`, or tables."""
    return {_KEYS.get(key, key): _renamed(key, value) for key, value in changes.items()}


def _renamed(section: str, value: Any) -> Any:
    """The value of a whole section (or a list of some) with new keys; any other as it is."""
    if isinstance(value, dict):
        own = cast("dict[str, Any]", value)
        return {new_name(section, key) or key: each for key, each in own.items()}
    if isinstance(value, list):
        return [_renamed(section, each) for each in cast("list[Any]", value)]
    return value
