"""Answer for a whole ledger: one sentence for each data set, and the command to type next."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.figures import QUALITY_KEY
from scalelab.core.presets import preset_names
from scalelab.core.records import LOST, UNFINISHED, Outcome
from scalelab.core.study import StudySpec
from scalelab.core.units import parse_bytes
from scalelab.findings import words
from scalelab.findings.candidates import Candidate, Group, groups_of
from scalelab.findings.choice import Choice, choose
from scalelab.findings.command import (
    StudyRequest,
    errors_command,
    plan_command,
    report_command,
    study_request,
    sweep_command,
)
from scalelab.findings.metrics import metrics_in_words
from scalelab.findings.result import NEXT, Answer, Pick, Sentence
from scalelab.findings.verdicts import Baseline, baselines_of
from scalelab.store.ledger import Ledger

__all__ = ["answer"]

# A page with more comparisons than this is read by nobody.
_MOST = 12
_FIGURES = ("quality", "ndcg_10")
# With so many seeds the spread over them is known.
_ENOUGH_SEEDS = 3


def answer(
    ledger: Ledger,
    budget_bytes: int | None = None,
    study: str | None = None,
) -> Answer:
    """The answer of a ledger under a budget of memory; None: that of the study swept last.

    `study` is a name, or what names it on a command line: only runs of studies of that name count,
    where the ledger has others too, and those that it took from them. Raises SpecError,
    LedgerError.
    """
    with ledger.reading():
        ids = _ids(ledger, study)
        request = study_request(ledger, ids, study)
        if budget_bytes is None and request is not None and request.memory is not None:
            budget_bytes = parse_bytes(request.memory)
        groups = _named_apart(groups_of(ledger, budget_bytes, ids))
        metrics = sorted({group.metric for group in groups})
        baselines = {metric: baselines_of(ledger, metric) for metric in {*metrics, QUALITY_KEY}}
    # What the study still lacks comes before any other run, also for the data that lack nothing.
    unfinished = any(group.endings.get(each) for group in groups for each in UNFINISHED)
    found = [
        _sentence(
            ledger,
            group,
            baselines=baselines,
            request=request,
            budget_bytes=budget_bytes,
            several=len(groups) > 1,
            unfinished=unfinished,
        )
        for group in groups[:_MOST]
    ]
    lines = [sentence.text for sentence in found] or ["This ledger has no runs yet."]
    if len(metrics) > 1:
        lines.append(
            f"The runs have several metrics ({metrics_in_words(metrics)}): only those of one "
            "metric are compared."
        )
    if len(groups) > _MOST:
        lines.append(f"There are {len(groups) - _MOST} more data sets, protocols or devices.")
    commands = dict.fromkeys(sentence.next for sentence in found)
    return Answer(
        ledger=str(ledger.path),
        budget_bytes=budget_bytes,
        text="\n".join([*lines, *(f"{NEXT}{command}" for command in commands)]),
        sentences=tuple(found),
    )


def _named_apart(groups: Sequence[Group]) -> list[Group]:
    """Data of one name that are not the same, such as two files, get their fingerprint too."""
    count = Counter(group.data for group in groups)
    return [
        replace(group, data=f"{group.data}, data {group.data_fingerprint or 'unknown'}")
        if count[group.data] > 1
        else group
        for group in groups
    ]


def _ids(ledger: Ledger, study: str | None) -> list[str] | None:
    """The ids of the studies of that name; None where the ledger has no other."""
    rows = ledger.query("SELECT study_id, name FROM studies").to_pylist()
    names = {row["name"] for row in rows}
    if study is None:
        return None
    name = study if study in names else _name_of(study)
    if name not in names:
        there = f"there are: {', '.join(sorted(names))}" if names else "it has no studies"
        raise SpecError(f"{ledger.path} has no study called {name!r}", there)
    if names == {name}:
        return None
    return [row["study_id"] for row in rows if row["name"] == name]


def _name_of(study: str) -> str:
    """The name of a study on the disk; a text that names none is a name itself."""
    is_file = study.endswith(".toml") or os.sep in study or Path(study).exists()
    return StudySpec.load(study).name if is_file or study in preset_names("studies") else study


def _sentence(
    ledger: Ledger,
    group: Group,
    *,
    baselines: Mapping[str, Mapping[tuple[str, str], list[Baseline]]],
    request: StudyRequest | None,
    budget_bytes: int | None,
    several: bool,
    unfinished: bool,
) -> Sentence:
    choice, place = None, (group.data_fingerprint or "", group.protocol)
    if group.candidates:
        choice = choose(ledger, group, baselines[group.metric].get(place, []))
    clauses = _clauses(choice, group, budget_bytes)
    text = " ".join(clauses.values())
    return Sentence(
        data=group.data,
        metric=group.metric,
        text=f"{group.data}: {text}" if several else text,
        clauses=clauses,
        next=_next(
            ledger,
            choice,
            group=group,
            request=request,
            budget_bytes=budget_bytes,
            unfinished=unfinished,
        ),
        **_numbers(choice, baselines[QUALITY_KEY].get(place, [])),
    )


def _clauses(choice: Choice | None, group: Group, budget_bytes: int | None) -> dict[str, str]:
    if choice is None:
        found = {"best": words.nothing_clause(group, budget_bytes)}
        # Without a finished run the first clause states how they ended.
        if group.num_finished:
            found["left_out"] = words.left_out_clause(group)
    else:
        found = {
            "best": words.best_clause(choice, group, budget_bytes),
            "cheaper": words.cheaper_clause(choice),
            "distance": words.distance_clause(choice),
            "unknown": words.unknown_clause(choice, group),
            "left_out": words.left_out_clause(group),
        }
    return {kind: clause for kind, clause in found.items() if clause}


def _numbers(choice: Choice | None, by_ndcg: Sequence[Baseline]) -> dict[str, Any]:
    """The fields of a sentence that are figures; `by_ndcg` are the baselines by NDCG@10."""
    if choice is None:
        names = ("best", "cheaper", "quality_ratio", "memory_ratio", "baseline", "test_users")
        figures = (f"{of}_{metric}" for of in ("oracle", "baseline") for metric in _FIGURES)
        empty = dict.fromkeys((*names, *figures))
        return {**empty, "is_best": False, "equal": ()}
    best, cheaper, baseline = choice.best, choice.cheaper, choice.baseline
    if choice.nothing_learned:
        cheaper = None
    named = {one.name: one.test for one in by_ndcg}
    sizes = None if cheaper is None else (cheaper.needed_bytes, best.needed_bytes)
    return {
        "is_best": choice.is_best,
        "best": _pick(best, choice),
        "cheaper": None if cheaper is None else _pick(cheaper, choice),
        "equal": tuple(_pick(one, choice) for one in choice.equal),
        "quality_ratio": None if cheaper is None else cheaper.test / best.test,
        "memory_ratio": sizes[0] / sizes[1] if sizes and sizes[0] and sizes[1] else None,
        "oracle_quality": best.oracle,
        "oracle_ndcg_10": best.ndcg_10.oracle,
        "baseline": None if baseline is None else baseline.name,
        "baseline_quality": None if baseline is None else baseline.test,
        "baseline_ndcg_10": None if baseline is None else named.get(baseline.name),
        "test_users": choice.num_users,
    }


def _pick(one: Candidate, choice: Choice) -> Pick:
    return Pick(
        label=one.label,
        configuration=one.key[0],
        settings=one.settings,
        seeds=one.seeds,
        valid_quality=one.valid,
        test_quality=one.test,
        test_quality_std=one.test_std,
        valid_ndcg_10=one.ndcg_10.valid,
        test_ndcg_10=one.ndcg_10.test,
        test_ndcg_10_std=one.ndcg_10.test_std,
        peak_bytes=one.peak_bytes,
        eval_peak_bytes=one.eval_peak_bytes,
        train_s=one.train_s,
        note=one.verdict.words,
        p_value=choice.p_values.get(one.key),
    )


def _next(
    ledger: Ledger,
    choice: Choice | None,
    *,
    group: Group,
    request: StudyRequest | None,
    budget_bytes: int | None,
    unfinished: bool,
) -> str:
    """The command that would tell most; where the study is not there, the page of the ledger."""
    found = None
    if request is not None:
        if unfinished:
            found = sweep_command(ledger, request, {})
        elif choice is None and _too_large(group, budget_bytes):
            found = plan_command(request, budget_bytes)
        elif choice is not None and _needs_longer(choice):
            found = sweep_command(ledger, request, _longer(choice.best))
        if (
            found is None
            and choice is not None
            and choice.best.seeds < _ENOUGH_SEEDS
            and not request.is_search
        ):
            found = sweep_command(ledger, request, {"train.seed": group.last_seed + 1})
    if found is None and choice is None and any(group.endings.get(o) for o in LOST):
        found = errors_command(ledger)
    return found or report_command(ledger)


def _too_large(group: Group, budget_bytes: int | None) -> bool:
    """Whether memory is what keeps all from a result."""
    ended = group.endings
    large = ended.get(Outcome.OOM, 0) + ended.get(Outcome.SKIPPED, 0)
    return bool(large) or (budget_bytes is not None and group.num_finished > group.num_with_lost)


def _needs_longer(choice: Choice) -> bool:
    shown = [choice.best, *([] if choice.cheaper is None else [choice.cheaper])]
    return choice.nothing_learned in ("zero", "at_baseline") or any(
        one.verdict.still_rising for one in shown
    )


def _longer(one: Candidate) -> dict[str, int]:
    """Twice the training."""
    names = ("train.epochs", "train.max_steps")
    return {name: 2 * one.settings[name] for name in names if one.settings.get(name)}
