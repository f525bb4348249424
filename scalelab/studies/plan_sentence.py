"""Say in words what a plan has found: what fits, what does not and why, what is the fastest."""

import math
from collections.abc import Sequence
from typing import Any

from scalelab.core.units import format_bytes, format_range, format_share

__all__ = ["headroom_of", "plan_sentence", "ranked", "seconds_of"]

Documents = Sequence[dict[str, Any]]

_IN_WORDS = {
    "item_table": "the item table",
    "encoder_parameters": "the encoder's weights",
    "attribute_table": "the table of item attributes",
    "user_table": "the table of users with its gradient and its optimizer's state",
    "item_table_gradient": "the gradient of the item table",
    "encoder_gradients": "the gradients of the encoder",
    "optimizer_state": "the state of the optimizer",
    "optimizer_workspace": "the temporary memory of the optimizer",
    "batch": "the batch",
    "activations": "the activations of the encoder",
    "loss_workspace": "the temporary memory of the loss, such as logits,",
    "evaluation_workspace": "the temporary memory of evaluation",
    "other": "memory of the libraries",
}
_LIMITS = {
    "users": "the number of users in the data, not the memory",
    "range": "the range of values that are tried, not the memory",
}
# Predicted seconds that differ by less count as equal.
_CLOSE = 1.1
_MOST_NAMED = 3


def ranked(documents: Documents) -> list[dict[str, Any]]:
    """What fits first, then what does not, then what cannot be predicted; the fastest first.

    Of equal seconds the one with less memory comes first.
    """
    places = {True: 0, False: 1, None: 2}

    def place(document: dict[str, Any]) -> tuple[int, float, int]:
        needed = document["needed_bytes"]
        return places[document["fits"]], seconds_of(document), needed or 0

    return sorted(documents, key=place)


def seconds_of(document: dict[str, Any]) -> float:
    """The middle of the predicted seconds of a run; infinite where they are not known."""
    run = document["seconds"]["run"]
    return math.inf if run is None else math.sqrt(run["low"] * run["high"])


def headroom_of(document: dict[str, Any]) -> float | None:
    """The share of the limit that stays free; None where it does not fit or is not known."""
    if not document["fits"]:
        return None
    return 1 - document["needed_bytes"] / document["limit_bytes"]


def plan_sentence(documents: Documents) -> str:
    """One to four sentences. The last one says that quality is not predicted."""
    if "value" in documents[0]:
        return " ".join([*map(_solution, documents), "Quality is not predicted."])
    order = ranked(documents)
    fitting = [document for document in order if document["fits"]]
    lacking = [document for document in order if document["fits"] is False]
    unknown = [document for document in order if document["fits"] is None]
    sentences = [_how_many(documents, fitting, lacking, unknown)]
    if unknown:
        sentences.append(f"No prediction for {_listed([_name(each) for each in unknown])}.")
    if len(fitting) > 1:
        sentences.append(_fastest(fitting))
    sentences.append(_shared(fitting))
    return " ".join([*filter(None, sentences), "Quality is not predicted."])


def _shared(fitting: Documents) -> str:
    """Where several have a pre-training, that a sweep need not do each of them."""
    found = [each["seconds"]["pretraining"] for each in fitting if each["seconds"]["pretraining"]]
    if len(found) < 2:
        return ""
    takes = format_range(min(one["low"] for one in found), max(one["high"] for one in found))
    return (
        f"The time of each run counts its pre-training ({takes}), which a sweep does once for runs "
        "that differ only in what comes after it."
    )


def _how_many(
    documents: Documents, fitting: Documents, lacking: Documents, unknown: Documents
) -> str:
    where = _where(documents)
    if len(documents) == 1:
        (document,) = documents
        headroom = headroom_of(document)
        if headroom is not None:
            run = document["seconds"]["run"]
            return (
                f"{_capital(_name(document))} fits {where}: it needs "
                f"{_needed(document)}, {format_share(headroom)} stays "
                f"free, and it takes {format_range(run['low'], run['high'])}."
            )
        if not lacking:
            return ""
        return f"{_capital(_name(document))} does not fit {where}: {_why(document)}."
    number = len(documents) - len(unknown)
    if not lacking and number:
        all_of = "Both" if number == 2 else f"All {number}"
        which = f"{number} of {len(documents)}" if unknown else all_of
        return f"{which} configurations fit {where}."
    why = "; ".join(f"{_name(each)} does not: {_why(each)}" for each in lacking[:_MOST_NAMED])
    more = len(lacking) - _MOST_NAMED
    rest = f"; nor do {more} more" if more > 0 else ""
    if not fitting:
        if not lacking:
            return ""
        least = min(lacking, key=lambda each: each["needed_bytes"])
        smallest = f"the smallest is {_name(least)}: {_why(least)}"
        return f"None of {number} configurations fits {where}; {smallest}."
    return f"{len(fitting)} of {number} configurations fit {where}; {why}{rest}."


def _where(documents: Documents) -> str:
    names = list(dict.fromkeys(document["device"] for document in documents))
    limits = sorted({document["limit_bytes"] for document in documents})
    sizes = list(dict.fromkeys(map(format_bytes, limits)))
    there = " or ".join(sizes) if len(sizes) < 3 else f"{sizes[0]} to {sizes[-1]}"
    beside = "CUDA's context" if any(map(_on_cuda, documents)) else "the process and its data"
    return f"{_listed(names)} ({there} for a run, {beside} left out)"


def _why(document: dict[str, Any]) -> str:
    """The bytes that it needs, and what takes most of them."""
    stages = [stage for stage in (document["memory"], document["evaluation"]) if stage]
    stage = max(stages, key=lambda each: each["requested"]["total"])
    parts = {name: size for name, size in stage["requested"].items() if name != "total"}
    largest = max(parts, key=parts.__getitem__)
    process = document["process_bytes"] or 0
    beside = (
        f", and the process and its data take {format_bytes(process)} beside it"
        if process > document["needed_bytes"]
        else ""
    )
    return (
        f"it needs {_needed(document)}, of which "
        f"{_IN_WORDS.get(largest, largest)} takes {format_bytes(parts[largest])}{beside}"
    )


def _fastest(fitting: Documents) -> str:
    first = fitting[0]
    close = [each for each in fitting if seconds_of(each) <= _CLOSE * seconds_of(first)]
    run = first["seconds"]["run"]
    takes = f"{format_range(run['low'], run['high'])} a run"
    size = _needed(first)
    if len(close) == 1:
        return f"The fastest that fits is {_name(first)}: {takes}, {size}."
    if len(close) == len(fitting):
        return f"All that fit are predicted to be equally fast: {takes}."
    names = _listed([_name(each) for each in close])
    return f"The fastest that fit, equally fast, are {names}: {takes}."


def _solution(document: dict[str, Any]) -> str:
    of = f" of {document['label']}" if document["label"] else ""
    if document["value"] is None:
        return f"No prediction{of}: {document['reason']}."
    needed, limit = (format_bytes(document[name]) for name in ("needed_bytes", "limit_bytes"))
    found = f"The largest {document['key']}{of} is {document['value']:,}"
    if document["limited_by"] == "memory":
        stop = f"{document['next_value']:,} does not fit {limit}"
    else:
        stop = f"what limits it is {_LIMITS[document['limited_by']]}"
    reserved = " that a run may reserve" if _on_cuda(document) else ""
    return f"{found}: {stop}. It needs {needed} of {limit}{reserved}."


def _needed(document: dict[str, Any]) -> str:
    """What counts against the limit: on CUDA the reserved bytes, else those of live tensors."""
    size = format_bytes(document["needed_bytes"])
    return f"{size} (reserved)" if _on_cuda(document) else size


def _on_cuda(document: dict[str, Any]) -> bool:
    return document["device_kind"] == "cuda"


def _name(document: dict[str, Any]) -> str:
    return document["label"] or "this run"


def _listed(names: Sequence[str]) -> str:
    shown = list(names[:_MOST_NAMED])
    if len(names) > _MOST_NAMED:
        shown = [*shown[:-1], f"{len(names) - _MOST_NAMED + 1} more"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _capital(text: str) -> str:
    return text[0].upper() + text[1:] if text == "this run" else text
