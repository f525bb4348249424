"""Offer the verb `plan` and the sentence and ranking of its documents."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scalelab.core.arguments import Settings, overrides_of

__all__ = ["headroom_of", "plan", "plan_sentence", "ranked"]


def plan(
    run_or_study: str | Path,
    *,
    on: str | Path | None = None,
    budget: str | int | None = None,
    solve: str | None = None,
    set: Settings = None,
    items: str | int | None = None,
    users: str | int | None = None,
    report: Callable[[int, int, str], None] = lambda done, total, label: None,
) -> list[dict[str, Any]]:
    """What each configuration would take: `memory` (of training) and `evaluation` by kind and
    component, `seconds`, `fits`. Nothing runs.

    `on` is a device profile (None: this machine). `items` and `users`, such as "2M", plan for a
    catalog or a number of users other than that of the data, whose lengths are kept. With `solve`,
    a key such as `batch.size`, each configuration is that with the largest `value` that fits, and
    `limited_by` says what keeps it from being larger. `report` is called before each prediction
    with the number done, the number of all, and what is next. Raises SpecError and DataError.
    """
    from scalelab.core.units import parse_bytes, parse_count
    from scalelab.studies.predictions import Scale, predict_configurations

    budget_bytes = parse_bytes(budget) if budget is not None else None
    scale = Scale(
        num_items=None if items is None else parse_count(items),
        num_users=None if users is None else parse_count(users),
    )
    return predict_configurations(
        run_or_study,
        overrides_of(set),
        on=on,
        budget_bytes=budget_bytes,
        solve_for=solve,
        scale=scale,
        report=report,
    )


def plan_sentence(documents: Sequence[dict[str, Any]]) -> str:
    """What a plan says, in words: how many fit, why others do not, which is the fastest."""
    from scalelab.studies.plan_sentence import plan_sentence as in_words

    return in_words(documents)


def headroom_of(document: dict[str, Any]) -> float | None:
    """The share of the limit that a document of a plan leaves free; None where it does not fit."""
    from scalelab.studies.plan_sentence import headroom_of as share

    return share(document)


def ranked(documents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents of a plan: first what fits, the fastest first."""
    from scalelab.studies.plan_sentence import ranked as in_rank

    return in_rank(documents)
