"""Find the command that finds out more than the ledger holds: one that works when it is typed."""

import json
import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.study import StudySpec
from scalelab.core.units import GIB, KIB, MIB
from scalelab.store.ledger import Ledger

__all__ = [
    "StudyRequest",
    "errors_command",
    "plan_command",
    "report_command",
    "study_request",
    "sweep_command",
]


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """The study that filled the ledger: what names it on the command line, and what it set.

    `argument` is None where the study's file is not there (any more), or is another study now.
    `varied` are the keys that it sets for each configuration: no option can set those for all.
    """

    name: str
    argument: str | None
    overrides: Mapping[str, Any]
    memory: str | None
    is_search: bool
    varied: frozenset[str]


def study_request(ledger: Ledger, ids: list[str] | None, given: str | None) -> StudyRequest | None:
    """The study that was swept last, of those with these ids; None where the ledger has none.

    `given` is what somebody typed for it.
    """
    found = ledger.query(
        "SELECT name, spec_toml FROM studies WHERE $ids IS NULL OR list_contains($ids, study_id) "
        "ORDER BY created_at DESC LIMIT 1",
        {"ids": ids},
    ).to_pylist()
    if not found:
        return None
    name, text = found[0]["name"], found[0]["spec_toml"]
    sections = _parsed(text)
    overrides = sections.pop("overrides", {})
    return StudyRequest(
        name=name,
        argument=_argument(ledger, name, sections, given),
        overrides=overrides,
        memory=sections.get("budget", {}).get("memory"),
        is_search="search" in sections,
        varied=_varied(sections),
    )


def sweep_command(ledger: Ledger, request: StudyRequest, changes: Mapping[str, Any]) -> str | None:
    """The same sweep with `changes`; None where it cannot be written on a command line."""
    settings = {**request.overrides, **changes}
    cannot = request.varied & changes.keys() or any(isinstance(v, dict) for v in settings.values())
    if request.argument is None or cannot:
        return None
    words = ["scalelab", "sweep", request.argument]
    if str(ledger.path) != f"{request.name}.duckdb":
        words += ["--ledger", str(ledger.path)]
    for key, value in settings.items():
        words += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return shlex.join(words)


def plan_command(request: StudyRequest, budget_bytes: int | None) -> str | None:
    """The largest batches that fit; None where the study is not there."""
    if request.argument is None:
        return None
    words = ["scalelab", "plan", request.argument, "--solve", "batch.size"]
    return shlex.join(words if budget_bytes is None else [*words, "--budget", _size(budget_bytes)])


def _size(count: int) -> str:
    """The exact size in the largest unit that divides it."""
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if count and count % size == 0:
            return f"{count // size}{unit}"
    return f"{count}B"


def report_command(ledger: Ledger) -> str:
    """The page of the ledger."""
    return shlex.join(["scalelab", "report", str(ledger.path)])


def errors_command(ledger: Ledger) -> str:
    """The rows that say what went wrong."""
    sql = "SELECT loss, outcome, error FROM runs WHERE outcome <> 'done'"
    return f'{shlex.join(["scalelab", "query", str(ledger.path)])} "{sql}"'


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:  # another program may have written it; then it names no study
        return {}


def _varied(sections: Mapping[str, Any]) -> frozenset[str]:
    found = {key for keys in sections.get("cells", ()) for key in keys}
    found |= {*sections.get("axes", {})}
    if "halving" in sections:  # it sets the epochs of each round
        found.add("train.epochs")
    return frozenset(found)


def _argument(
    ledger: Ledger, name: str, sections: Mapping[str, Any], given: str | None
) -> str | None:
    """What was typed, else the first preset or file of that name that is the same study."""
    beside = ledger.path.parent
    places = [name, f"{name}.toml", *(str(beside / place) for place in (f"{name}.toml", name))]
    for place in [given, *places] if given is not None else places:
        if place is not None and _is_study(place, sections):
            return place
    return None


def _is_study(place: str, sections: Mapping[str, Any]) -> bool:
    try:
        study = StudySpec.load(place)
    except SpecError:
        return False
    found = study.model_dump(mode="json", exclude_none=True) | {"base": Path(study.base).stem}
    return found == sections
