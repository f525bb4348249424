"""Join the results of a ledger with a table of published results."""

import re
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from scalelab.findings.differences import key_of
from scalelab.findings.order import order_of
from scalelab.findings.verdicts import verdicts_of
from scalelab.result_tables.protocols import (
    NOT_STATED,
    same_protocol,
    seen_is_stated,
    some_users_of,
    targets_of,
)
from scalelab.result_tables.published import read_published
from scalelab.store.ledger import Ledger

__all__ = ["compare", "published_data", "unmatched"]

_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("model", pa.string()),
        ("loss", pa.string()),
        ("metric", pa.string()),
        ("published", pa.float64()),
        ("ours", pa.float64()),
        ("spread", pa.float64()),
        ("ratio", pa.float64()),
        ("seeds", pa.int64()),
        ("lost_seeds", pa.int64()),
        ("note", pa.string()),
        ("our_loss", pa.string()),
        ("our_negatives", pa.int64()),
        ("source", pa.string()),
        ("published_setting", pa.string()),
        ("other_negatives", pa.string()),
        ("published_protocol", pa.string()),
        ("our_protocol", pa.string()),
        ("not_stated", pa.string()),
        ("chosen_by", pa.string()),
        ("configuration", pa.string()),
    ]
)
# Configuration, device, threads, metric.
_Where = tuple[str, str | None, int | None, str]
_CROSS_ENTROPIES = frozenset({"cross_entropy", "dense_ce", "linear_ce", "cut_ce", "liger_ce"})
_RENAMED = {"sampled_ce": "sampled_softmax", "sampled softmax": "sampled_softmax"}
_NEGATIVES = re.compile(r"\b(\d[\d,]*) negatives?\b")
_GB = 10**9
# What two of our configurations must share for one of them to be the better.
_PLACE = ("protocol", "data_fingerprint", "results_version", "quality_metric")
_OURS = """
SELECT c.configuration, c.dataset, c.model, c.loss, c.protocol, c.num_negatives, c.device,
    c.threads, c.data_fingerprint, c.results_version, c.quality_metric,
    coalesce(c.spec->>'$.loss.train_on', 'all') AS train_on,
    try_cast(c.spec->>'$.loss.top_k' AS BIGINT) AS top_k,
    c.valid_quality, c.peak_bytes, c.num_lost
FROM configurations AS c
"""
_FIGURES = """
WITH latest AS (
    SELECT run_id, configuration, device, threads, fingerprint, peak_bytes FROM results
    QUALIFY row_number() OVER (
        PARTITION BY fingerprint, device ORDER BY attempt DESC, started_at DESC, run_id DESC
    ) = 1
)
SELECT configuration, device, threads, metrics.name || '@' || k AS metric, value
FROM latest JOIN metrics ON metrics.run_id = latest.run_id
WHERE split = 'test' AND k IS NOT NULL
UNION ALL
SELECT configuration, device, threads, 'peak_gb', peak_bytes / $gb
FROM latest WHERE peak_bytes IS NOT NULL
"""


def compare(ledger: Ledger, published: Path) -> pa.Table:
    """Published figures for which a finished configuration of ours exists, one row each.

    Of our configurations with that data set, model, loss (as its paper calls it) and protocol, the
    best on validation (by `chosen_by`, the metric of its runs) stands beside it, one with
    `lost_seeds` only where all have some: mean and standard deviation over its seeds, and ours
    over theirs. `note` says of ours whether it ended at a baseline, below one, or still rising,
    `other_negatives` how many negatives each has where theirs are stated and others.
    Where several of our protocols agree with what is stated of theirs, each has a row, and
    `not_stated` names what may still differ. `peak_gb` is in 10^9 bytes. Raises DataError for a
    table that cannot be read.
    """
    theirs = read_published(published)
    with ledger.reading():
        ours = _best_first(ledger)
        values = ledger.query(_FIGURES, {"gb": _GB}).to_pylist()
    figures: dict[_Where, list[float]] = {}
    for row in values:
        figures.setdefault((*_place_of(row), row["metric"]), []).append(row["value"])
    rows: list[dict[str, Any]] = []
    for line in theirs:
        metric = line["metric"].strip().lower()
        for own in _best(ours, line):
            if found := _figures_of(own, metric, figures):
                rows.append(_row(line, metric, own, found))
    rows.sort(key=_place_in_table)
    return pa.Table.from_pylist(rows, _SCHEMA)


def unmatched(ledger: Ledger, published: Path, *, own_data_only: bool = False) -> list[str]:
    """The published figures without a row in `compare`, a line for those of one data set, model,
    loss and reason; with `own_data_only` those on data sets that the ledger has runs on.
    """
    with ledger.reading():
        ours = _best_first(ledger)
        found = compare(ledger, published).to_pylist()
    data_sets = {_plain(own["dataset"]) for own in ours}
    names = ("dataset", "model", "loss")
    known = {(*(row[n] for n in names), row["metric"], row["published_protocol"]) for row in found}
    metrics: dict[tuple[str, str], dict[str, None]] = {}
    for line in read_published(published):
        if own_data_only and _plain(line["dataset"]) not in data_sets:
            continue
        metric = line["metric"].strip().lower()
        if (*(line[n] for n in names), metric, line.get("protocol")) not in known:
            what = ", ".join(line[n] for n in names)
            metrics.setdefault((what, _why(ours, line)), {})[metric] = None
    return [f"{what}, {', '.join(own)}: {why}" for (what, why), own in metrics.items()]


def published_data(published: Path) -> list[str]:
    """The data sets that published figures are on."""
    return list(dict.fromkeys(line["dataset"] for line in read_published(published)))


def _best_first(ledger: Ledger) -> list[dict[str, Any]]:
    verdicts = verdicts_of(ledger)
    found = [row | {"note": verdicts[key_of(row)].words} for row in ledger.query(_OURS).to_pylist()]
    return sorted(found, key=order_of)


def _why(ours: Sequence[dict[str, Any]], line: dict[str, str]) -> str:
    """The first thing that no finished configuration shares with a published figure."""
    data = [own for own in ours if _plain(own["dataset"]) == _plain(line["dataset"])]
    models = [own for own in data if _plain(own["model"]) == _plain(line["model"])]
    losses = [own for own in models if _is_loss(own, line["loss"].strip().lower())]
    if not data:
        return "no run on that data set"
    if not models:
        return "no run of that model"
    if not losses:
        return "no run with that loss"
    if not _best(ours, line):
        count = some_users_of(losses[0]["protocol"])
        if count is not None and some_users_of(line.get("protocol") or "") is None:
            return f"ours are over {count:,} users, theirs over all (set data.max_eval_users = 0)"
        return f"another protocol: theirs {line.get('protocol')!r}, ours {losses[0]['protocol']!r}"
    return "no such metric in the ledger"


def _place_in_table(row: dict[str, Any]) -> tuple[Any, ...]:
    name, _, k = row["metric"].partition("@")
    return row["dataset"], row["model"], row["loss"], name, int(k) if k.isdigit() else 0


def _row(
    line: dict[str, str], metric: str, own: dict[str, Any], found: list[float]
) -> dict[str, Any]:
    published, mean = float(line["value"]), statistics.fmean(found)
    return {
        "dataset": line["dataset"],
        "model": line["model"],
        "loss": line["loss"],
        "metric": metric,
        "published": published,
        "ours": mean,
        "spread": statistics.stdev(found) if len(found) > 1 else None,
        "ratio": mean / published if published else None,
        "seeds": len(found),
        "lost_seeds": own["num_lost"],
        "note": own["note"],
        "our_loss": own["loss"],
        "our_negatives": own["num_negatives"],
        "source": line.get("source"),
        "published_setting": line.get("setting"),
        "other_negatives": _other_negatives(line.get("setting") or "", own["num_negatives"]),
        "published_protocol": line.get("protocol"),
        "our_protocol": own["protocol"],
        "not_stated": "" if seen_is_stated(line.get("protocol") or "") else NOT_STATED,
        "chosen_by": own["quality_metric"],
        "configuration": own["configuration"],
    }


def _other_negatives(setting: str, ours: int) -> str:
    stated = _NEGATIVES.search(setting)
    theirs = int(stated[1].replace(",", "")) if stated else ours
    return "" if theirs == ours else f"theirs has {theirs:,} negatives, ours {ours:,}"


def _best(ours: Iterable[dict[str, Any]], line: dict[str, str]) -> list[dict[str, Any]]:
    """The best of `ours` (which are sorted, best first) that `line` describes, of each protocol.

    By other protocols, and on other data of the same name, qualities do not compare.
    """
    wanted = (_plain(line["dataset"]), _plain(line["model"]))
    best: dict[tuple[Any, ...], dict[str, Any]] = {}
    for own in ours:
        if (
            (_plain(own["dataset"]), _plain(own["model"])) == wanted
            and _is_loss(own, line["loss"].strip().lower())
            and same_protocol(own["protocol"], line.get("protocol") or "")
        ):
            best.setdefault(tuple(own[name] for name in _PLACE), own)
    return list(best.values())


def _is_loss(own: dict[str, Any], published: str) -> bool:
    """Whether our loss is what a paper calls `published`."""
    ours = own["loss"]
    if published in ("ce", "ce_last"):
        train_on = "last" if published == "ce_last" else "all"
        return ours in _CROSS_ENTROPIES and own["train_on"] == train_on
    if published in ("bce", "bce+"):
        return ours == "bce" and (own["num_negatives"] > 1) == (published == "bce+")
    if published == "tron":
        return ours == "sampled_softmax" and bool(own["top_k"])
    if _RENAMED.get(published, published) == "sampled_softmax":
        return ours == "sampled_softmax" and not own["top_k"]
    return ours == published


def _place_of(row: dict[str, Any]) -> tuple[str, str | None, int | None]:
    """What names one row of the view `configurations`, among those of one results version."""
    return row["configuration"], row["device"], row["threads"]


def _figures_of(
    own: dict[str, Any], metric: str, figures: dict[_Where, list[float]]
) -> list[float]:
    """The values over seeds. Where one list has one target, recall is the hit rate: older ledgers
    hold that alone."""
    metrics = [metric]
    if targets_of(own["protocol"]) != "all":
        metrics.append(metric.replace("recall@", "hr@"))
    found = (figures.get((*_place_of(own), name)) for name in metrics)
    return next((values for values in found if values), [])


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]+", "-", name.strip().lower())
