"""Write the notes that a finished run needs beside its numbers, from its record alone."""

import json
from collections.abc import Mapping
from typing import Any

from scalelab.core.notes import note_on_account
from scalelab.core.records import Outcome, Record

__all__ = ["notes_on_run"]

_BINARY = ("bce", "gbce")
# Lists of 10 of so many users or more, and a catalog of so many items or more, could differ.
_LEAST_USERS, _LEAST_ITEMS = 200, 500
# Fewer different items than these in all lists of 10 are about one list for everybody.
_FEW_ITEMS = 50


def notes_on_run(record: Record) -> list[str]:
    """What people must know of the run: an account that is off, negatives that all positions share
    under a loss that this suits badly, vectors of users of which no test user has one, one list of
    items for everybody.
    """
    spec = json.loads(record.run.spec)
    notes = [
        note_on_account(record.run.account_error),
        _on_shared_negatives(spec),
        _on_unknown_users(spec),
        _on_collapse(record),
    ]
    return [note for note in notes if note]


def _on_shared_negatives(spec: Mapping[str, Any]) -> str:
    loss, sources = spec.get("loss", {}).get("name"), spec.get("negatives", [])
    if loss not in _BINARY or not sources or any(one["per"] != "batch" for one in sources):
        return ""
    return (
        f"shared negatives: all positions of a step push the same items down, and {loss} counts "
        "each of them anew, whatever the others do; it is known with negatives per position: "
        'negatives.per = "position", or loss.name = "sampled_softmax"'
    )


def _on_unknown_users(spec: Mapping[str, Any]) -> str:
    has_users = spec.get("model", {}).get("user_embedding", False)
    if not has_users or spec.get("data", {}).get("split") != "temporal":
        return ""
    return (
        'unknown users: with data.split = "temporal" other users train than test, so that no test '
        "user has a vector of model.user_embedding"
    )


def _on_collapse(record: Record) -> str:
    found = {(m.name, m.k): m.value for m in record.metrics if m.split == "test"}
    coverage, users = found.get(("coverage", 10)), found.get(("num_users", None))
    items = record.run.num_items
    if record.run.outcome is not Outcome.DONE or coverage is None or users is None or not items:
        return ""
    different = round(coverage * items)
    if users < _LEAST_USERS or items < _LEAST_ITEMS or different >= _FEW_ITEMS:
        return ""
    return (
        f"collapse: the lists of 10 of all {users:,.0f} test users hold {different} different "
        f"items of {items:,}, so about everybody is shown the same"
    )
