"""Arrange what `data describe` found: facts by name, and one line for each split."""

from typing import Any

__all__ = ["SPLIT_COLUMNS", "facts_without_splits", "refused_splits", "split_rows"]

# The columns of a line, and where the facts of a split have them. Those that count are of the test.
_COLUMNS = {
    "training_users": ("training_users",),
    "interactions": ("training_interactions",),
    "valid": ("valid", "targets"),
    "test": ("test", "targets"),
    "seen_before": ("test", "seen_before_by_the_user"),
    "never_trained_on": ("test", "items_never_trained_on"),
}
SPLIT_COLUMNS = ("split", *_COLUMNS)
# Shown as a date where the unit is known.
_RAW_TIMES = ("first", "last", "unit")


def split_rows(facts: dict[str, Any]) -> list[tuple[str, ...]]:
    """A line for each split that these data allow, under `SPLIT_COLUMNS`."""
    return [
        (name, *(f"{_at(found, path):,}" for path in _COLUMNS.values()))
        for name, found in facts.get("splits", {}).items()
        if "refused" not in found
    ]


def refused_splits(facts: dict[str, Any]) -> list[str]:
    """Why the other splits cannot be made, a text for each reason."""
    reasons: dict[str, list[str]] = {}
    for name, found in facts.get("splits", {}).items():
        if "refused" in found:
            reasons.setdefault(found["refused"], []).append(name)
    return [f"no split {' or '.join(names)}: {reason}" for reason, names in reasons.items()]


def facts_without_splits(facts: dict[str, Any]) -> dict[str, Any]:
    """What is left for the list of names and values: of a split what its line does not hold."""
    shown = {name: value for name, value in facts.items() if name != "splits"}
    times = shown.get("times", {})
    if "first_date" in times:
        shown["times"] = {name: value for name, value in times.items() if name not in _RAW_TIMES}
    in_lines = {path[0] for path in _COLUMNS.values()} | {"refused"}
    splits: dict[str, Any] = {}
    for name, found in facts.get("splits", {}).items():
        hidden = in_lines | ({"cut_time"} if "cut_date" in found else set())
        rest = {key: value for key, value in found.items() if key not in hidden}
        if rest:
            splits[name] = rest
    return shown | ({"splits": splits} if splits else {})


def _at(found: dict[str, Any], path: tuple[str, ...]) -> int:
    value: Any = found
    for name in path:
        value = value[name]
    return int(value)
