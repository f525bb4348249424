"""Choose few configurations that tell which loss and settings suit a data set, a device and hours.

Memory and seconds are predicted; quality is not, so the study that is written has to be run.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.presets import find_preset
from scalelab.core.spec import RunSpec, with_overrides
from scalelab.core.toml_sections import read_toml
from scalelab.core.units import format_bytes, format_range, format_share
from scalelab.studies.advised_study import AdvisedStudy, check_absent, write_study
from scalelab.studies.candidates import Candidate, candidates
from scalelab.studies.combinations import varied_keys
from scalelab.studies.grid import Configuration, resolve
from scalelab.studies.plan_sentence import plan_sentence, ranked
from scalelab.studies.predictions import Predictor, Report, Scale
from scalelab.studies.schedule import Epoch, Schedule, epoch_of, scheduled

__all__ = ["Request", "advise"]

_FOR_FILES, _GENERATED = "sasrec-beauty", "sasrec-synthetic"
# Ranking more users takes time and changes the result little.
_MANY_USERS, _EVALUATED = 50_000, 20_000
# A moving average of the weights is near the first ones until it has seen several times 1 / (1 -
# decay) updates.
_AVERAGED_OVER = 5


@dataclass(frozen=True, kw_only=True)
class Request:
    """What advice is wanted for. `data` None: generated data of that many items and users.

    `memory_bytes` is what a run may take, None what the device has; `headroom` the share of it
    that is to stay free; `hours` None: the study trains as long as `base` says.
    """

    data: str | None
    base: str | None
    on: str | None
    memory_bytes: int | None
    scale: Scale
    hours: float | None
    headroom: float
    overrides: Mapping[str, Any]
    out: Path | None


def advise(
    request: Request, report: Report = lambda done, total, label: None, *, resume: bool = False
) -> dict[str, Any]:
    """Plan, choose and write the study. `resume` allows that it is there already.

    Returns `configurations` (documents of a plan, ranked, each with `chosen` and
    `left_out_because`), `study` (file, ledger, rounds, seconds), `sentence` and `next`. Raises
    SpecError and DataError.
    """
    _check(request)
    base_name = request.base or (_GENERATED if request.data is None else _FOR_FILES)
    sections = read_toml(find_preset("runs", base_name))
    common = _common_keys(request)
    base = RunSpec.build(with_overrides(sections, common), where=base_name)
    # The name of a data set may hold anything; a file's name should not.
    name = f"advise-{re.sub(r'[^A-Za-z0-9_.-]+', '-', base.dataset)}"
    file = Path(f"{name}.toml") if request.out is None else request.out
    if not resume:
        check_absent(file)
    predictor = Predictor(
        on=request.on,
        budget_bytes=request.memory_bytes,
        headroom=request.headroom,
        scale=request.scale,
    )
    report(0, 1, "reading the lengths of the histories")
    lengths = predictor.lengths_of(Configuration(spec=base, label=""))
    if lengths.num_users > _MANY_USERS and not base.data.max_eval_users:
        common.setdefault("data.max_eval_users", _EVALUATED)
    offered = _offered(base, lengths.num_items, lengths.num_users, request.overrides)
    base_sections = with_overrides(sections, common)
    varied = varied_keys(each.keys for each in offered)
    found: list[tuple[Candidate, dict[str, Any]]] = []
    for place, each in enumerate(offered):
        configuration = resolve(base_sections, each.keys, varied)
        report(place, len(offered), configuration.label)
        document = predictor.predicted(configuration)
        found.append((each, document | {"why": each.why, "chosen": False}))
    fitting = [pair for pair in found if pair[1]["fits"]]
    if not fitting:
        hint = "raise --memory, lower --headroom, or name a larger device with --on"
        raise SpecError(plan_sentence([document for _, document in found]), hint)
    chosen, schedule = _choose(
        request,
        sections=base_sections,
        fitting=fitting,
        varied=varied,
        predictor=predictor,
        report=report,
    )
    for each, document in found:
        document["chosen"] = any(each is taken for taken, _ in chosen)
        document["left_out_because"] = _why_left_out(document, request)
    if schedule is not None:
        _shorten_average(common, base, schedule, [document for _, document in chosen])
    study = AdvisedStudy(
        base=base_name,
        name=name,
        set=common,
        cells=[taken.keys for taken, _ in chosen],
        notes=[document["why"] for _, document in chosen],
        schedule=schedule,
        hours=request.hours,
        memory_bytes=None if request.on is not None else request.memory_bytes,
        device=found[0][1]["device"],
    )
    write_study(study, file)
    documents = ranked([document for _, document in found])
    return {
        "device": documents[0]["device"],
        "num_items": lengths.num_items,
        "num_users": lengths.num_users,
        "headroom": request.headroom,
        "configurations": documents,
        "study": study.as_document(file),
        "sentence": _sentence(request, documents, study, file),
        "next": _next(request, file),
    }


def _check(request: Request) -> None:
    if request.data is None and request.scale.num_items is None:
        hint = "write scalelab advise FILE, or scalelab advise --items 2M --users 1M"
        raise SpecError("advise needs a data set, or the size of the catalog", hint)
    if not 0 <= request.headroom < 1:
        message = f"--headroom is a share of the memory from 0 to below 1, got {request.headroom:g}"
        raise SpecError(message, "write --headroom 0.1 to keep 10 % free")
    if request.hours is not None and not 0 < request.hours < float("inf"):
        message = f"--hours must be above 0, got {request.hours:g}"
        raise SpecError(message, "write --hours 0.5 for half an hour")
    for key in request.overrides:
        if key in ("loss.name", "negatives.num_negatives", "negatives.per", "negatives"):
            hint = f"leave out --set {key}, or write scalelab plan to look at one configuration"
            raise SpecError(f"advise chooses {key} itself", hint)


def _common_keys(request: Request) -> dict[str, Any]:
    """The keys that hold for every configuration, which the study gets as [set]."""
    keys: dict[str, Any] = {}
    if request.data is not None:
        here = Path(request.data)
        keys["data.path"] = str(here.absolute()) if here.exists() else request.data
    else:
        keys["data.num_items"] = request.scale.num_items
        if request.scale.num_users is not None:
            keys["data.num_users"] = request.scale.num_users
    # The same source for all losses: what is shared by a batch cannot avoid each user's items.
    keys |= {"negatives.name": "uniform", "negatives.reject": False}
    return keys | dict(request.overrides)


def _offered(
    base: RunSpec, num_items: int, num_users: int, overrides: Mapping[str, Any]
) -> list[Candidate]:
    found = candidates(base, num_items=num_items, num_users=num_users)
    if "batch.size" in overrides:
        return [each for each in found if each.keys["batch.size"] == base.batch.size]
    return found


def _choose(
    request: Request,
    *,
    sections: dict[str, Any],
    fitting: list[tuple[Candidate, dict[str, Any]]],
    varied: list[str],
    predictor: Predictor,
    report: Report,
) -> tuple[list[tuple[Candidate, dict[str, Any]]], Schedule | None]:
    """The most telling configurations that the hours allow, in the order of `fitting`.

    Without hours all losses with the batch of the base.
    """
    first_size = fitting[0][0].keys["batch.size"]
    if request.hours is None:
        return [pair for pair in fitting if pair[0].keys["batch.size"] == first_size], None
    epochs = _epochs(
        request,
        sections=sections,
        fitting=fitting,
        varied=varied,
        predictor=predictor,
        report=report,
    )
    most = fitting[0][1]["spec"]["train"]["epochs"]
    chosen: list[int] = []
    schedule = None
    for place in range(len(fitting)):
        longer = scheduled([epochs[at] for at in [*chosen, place]], request.hours, most)
        if longer is not None:
            chosen, schedule = [*chosen, place], longer
    if schedule is None:
        fastest = min(epochs, key=lambda epoch: epoch.middle)
        message = (
            f"{request.hours:g} hours are too short for any configuration: an epoch of the fastest "
            f"takes {format_range(fastest.low, fastest.high)}"
        )
        raise SpecError(
            message, "raise --hours, or evaluate fewer users: --set data.max_eval_users=1000"
        )
    return [fitting[place] for place in chosen], schedule


def _epochs(
    request: Request,
    *,
    sections: dict[str, Any],
    fitting: list[tuple[Candidate, dict[str, Any]]],
    varied: list[str],
    predictor: Predictor,
    report: Report,
) -> list[Epoch]:
    """What an epoch of the study takes. It trains on the data, not on the scale planned for."""
    if request.data is None or request.scale == Scale():
        return [epoch_of(document) for _, document in fitting]
    on_data = Predictor(on=request.on, budget_bytes=request.memory_bytes)
    found = []
    for place, (each, _) in enumerate(fitting):
        configuration = resolve(sections, each.keys, varied)
        report(place, len(fitting), f"{configuration.label} on the data themselves")
        found.append(epoch_of(on_data.predicted(configuration)))
    return found


def _why_left_out(document: dict[str, Any], request: Request) -> str | None:
    if document["chosen"]:
        return None
    if document["fits"] is None:
        return document["reason"]
    if not document["fits"]:
        needed, limit = (
            format_bytes(document["needed_bytes"]),
            format_bytes(document["limit_bytes"]),
        )
        return f"does not fit: needs {needed}, may take {limit}"
    if request.hours is None:
        return "a larger batch of a loss that is compared"
    return f"the others fill {request.hours:g} hours"


def _shorten_average(
    common: dict[str, Any], base: RunSpec, schedule: Schedule, chosen: list[dict[str, Any]]
) -> None:
    """Validate the weights themselves where their average would lag behind."""
    updates = schedule.epochs[0] * min(epoch_of(document).updates for document in chosen)
    decay = base.train.ema_decay
    if decay and updates < _AVERAGED_OVER / (1 - decay):
        common.setdefault("train.ema_decay", 0.0)


def _sentence(
    request: Request, documents: list[dict[str, Any]], study: AdvisedStudy, file: Path
) -> str:
    free = (
        f" {format_share(request.headroom)} of the memory is kept free." if request.headroom else ""
    )
    comparison = f"{file.name} compares {len(study.cells)} of them"
    if study.schedule is not None:
        schedule = study.schedule
        rounds = ", then the best ".join(
            f"{number} for {count} epoch{'s' * (count > 1)}"
            for number, count in zip(schedule.numbers, schedule.epochs, strict=True)
        )
        takes = format_range(schedule.low_s, schedule.high_s)
        comparison += f": {rounds}; {takes} on {documents[0]['device']}"
    else:
        runs = [each["seconds"]["run"] for each in documents if each["chosen"]]
        low, high = (sum(run[end] for run in runs) for end in ("low", "high"))
        comparison += f"; {format_range(low, high)} on {documents[0]['device']}"
    text = f"{plan_sentence(documents)}{free} {comparison}."
    if request.data is None:
        text += " Its data are generated: which loss ranks best on yours only your data can tell."
    return text


def _next(request: Request, file: Path) -> list[str]:
    """Commands that work when they are typed here."""
    name = shlex.quote(str(file))
    if request.on is not None:
        plan = f"scalelab plan {name} --on {shlex.quote(request.on)}"
        if request.data is not None:  # without data, the study itself has the size of the catalog
            scale = {"items": request.scale.num_items, "users": request.scale.num_users}
            plan += "".join(f" --{key} {n}" for key, n in scale.items() if n is not None)
        return [plan, f"scalelab sweep {name}"]
    return [f"scalelab sweep {name}"]
