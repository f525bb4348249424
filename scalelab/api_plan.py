"""Offer the verb `plan` and the sentence and ranking of its documents."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.core.arguments import Settings, overrides_of
from scalelab.notebook.progress import ignored, in_notebook, planning_bar

if TYPE_CHECKING:
    from scalelab.core.given import GivenRun, GivenStudy
    from scalelab.notebook.documents import Plan

__all__ = ["headroom_of", "plan", "plan_sentence", "ranked"]


def plan(
    run_or_study: "GivenRun | GivenStudy",
    *,
    on: str | Path | None = None,
    budget: str | int | None = None,
    solve: str | None = None,
    set: Settings = None,
    items: str | int | None = None,
    users: str | int | None = None,
    report: Callable[[int, int, str], None] | None = None,
) -> "Plan":
    """What each configuration would take: `memory` (of training) and `evaluation` by kind and
    component, `seconds`, `fits`, as keys and as attributes. Nothing runs.

    `run_or_study` is a name, a path, a dict of sections or keys (with `base` it is a study), a
    RunSpec or a StudySpec. `on` is a device profile (None: this machine). `items` and `users`, such
    as "2M", plan for a catalog or a number of users other than that of the data, whose lengths are
    kept. With `solve`, a key such as `batch.size`, each configuration is that with the largest
    `value` that fits, and `limited_by` says what keeps it from being larger. `report` is called
    before each prediction with the number done, the number of all, and what is next; None shows a
    bar in a notebook. Raises SpecError and DataError.
    """
    from scalelab.core.units import parse_bytes, parse_count
    from scalelab.notebook.documents import Plan, Planned
    from scalelab.studies.predictions import Scale, predict_configurations

    budget_bytes = parse_bytes(budget) if budget is not None else None
    scale = Scale(
        num_items=None if items is None else parse_count(items),
        num_users=None if users is None else parse_count(users),
    )
    with ExitStack() as stack:
        if report is None:
            report = stack.enter_context(planning_bar()) if in_notebook() else ignored
        found = predict_configurations(
            run_or_study,
            overrides_of(set),
            on=on,
            budget_bytes=budget_bytes,
            solve_for=solve,
            scale=scale,
            report=report,
        )
    return Plan(map(Planned, found))


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
