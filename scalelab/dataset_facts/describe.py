"""Describe a data set: counts, lengths, popularity, times, splits, what is dropped and why."""

from typing import Any

import numpy as np
from numba import njit

from scalelab.core.errors import DataError
from scalelab.core.figures import QUALITY_K, QUALITY_KEY
from scalelab.core.spec import DataSpec
from scalelab.dataset_facts.notes import notes
from scalelab.dataset_facts.statistics import sequence_statistics
from scalelab.datasets.global_time import moment
from scalelab.datasets.interactions import Interactions
from scalelab.datasets.load import Dataset, split
from scalelab.datasets.order import tied_share, tied_shares
from scalelab.datasets.splits import SHORTEST, HeldOut, Split, cut_time

__all__ = ["describe", "gini"]

_SPLITS = ("leave_one_out", "temporal", "global_time", "sessions")


def describe(dataset: Dataset) -> dict[str, Any]:
    """What is left after the filters, as plain dictionaries. Raises DataError.

    A split that the data do not allow has the reason in the place of its sizes.
    """
    data, interactions = dataset.spec, dataset.load()
    counts = np.bincount(interactions.item_ids, minlength=interactions.num_items + 1)[1:]
    lengths = np.diff(interactions.offsets)
    pairs = interactions.num_users * interactions.num_items
    repeats = _repeats(interactions)
    splits = {name: _split_or_reason(interactions, data, name) for name in _SPLITS}
    chosen = splits[data.split]
    return {
        "users": interactions.num_users,
        "items": interactions.num_items,
        "interactions": interactions.num_interactions,
        "density": interactions.num_interactions / pairs,
        "columns": dict(interactions.columns),
        "times": _times(interactions),
        "fingerprint": interactions.fingerprint,
        "lengths": _quantiles(lengths),
        "item_counts": {**_quantiles(counts), "items_with_5_or_more": int((counts >= 5).sum())},
        "popularity": {
            "gini": gini(counts),
            "share_of_top_1_percent": _head_share(counts, 0.01),
            "share_of_top_10_percent": _head_share(counts, 0.1),
        },
        "repeated": {"interactions": repeats, "share": repeats / interactions.num_interactions},
        "sequence": sequence_statistics(interactions, counts, repeats),
        "dropped_by_filters": dict(interactions.dropped),
        "splits": {name: _sizes(interactions, data, name, found) for name, found in splits.items()},
        "notes": [] if isinstance(chosen, str) else notes(interactions, chosen, data),
    }


def _split_or_reason(interactions: Interactions, data: DataSpec, name: str) -> Split | str:
    try:
        return split(interactions, data.model_copy(update={"split": name}))
    except DataError as error:
        return error.message


def _sizes(
    interactions: Interactions, data: DataSpec, name: str, parts: Split | str
) -> dict[str, Any]:
    if isinstance(parts, str):
        return {"refused": parts}
    found: dict[str, Any] = {
        "training_users": len(parts.train),
        "training_interactions": int(parts.train.lengths.sum()),
        "valid": _targets(interactions, parts.valid),
        "test": _targets(interactions, parts.test),
        "dropped": dict(parts.dropped),
    }
    if name in ("temporal", "global_time") and interactions.times is not None:
        cut = (
            cut_time(interactions.times, data.quantile)
            if data.cut == ""
            else moment(interactions, data.cut, "cut")
        )
        found["cut_time"] = cut
        found |= {"cut_date": date} if (date := _date(cut, interactions.time_unit)) else {}
    if oracle := parts.oracle_metrics((QUALITY_K,)):
        found[f"oracle_{QUALITY_KEY}"] = oracle[QUALITY_KEY]
    return found


def _targets(interactions: Interactions, held_out: HeldOut) -> dict[str, int | float]:
    found: dict[str, int | float] = {
        "targets": len(held_out),
        "seen_before_by_the_user": held_out.num_repeated,
        "items_never_trained_on": held_out.num_unseen,
    }
    ties = tied_share(interactions, held_out)
    return found if ties is None else {**found, "share_with_the_time_of_the_item_before": ties}


def _times(interactions: Interactions) -> dict[str, Any]:
    if interactions.times is None:
        return {"kind": "none", "order": "that of the file"}
    first, last = int(interactions.times.min()), int(interactions.times.max())
    found: dict[str, Any] = {
        "kind": "order" if interactions.time_is_order else "clock",
        **({"read_as": interactions.times_read_as} if interactions.times_read_as else {}),
        "first": first,
        "last": last,
    }
    if interactions.time_unit:
        found["unit"] = interactions.time_unit
        found["first_date"] = _date(first, interactions.time_unit)
        found["last_date"] = _date(last, interactions.time_unit)
    return found | {"ties": tied_shares(interactions, SHORTEST)}


def _date(time: int, unit: str) -> str | None:
    """A time as a date in UTC, None where its unit is not known."""
    if not unit:
        return None
    return f"{np.datetime64(0, 's') + np.timedelta64(time, unit)}Z"  # type: ignore[call-overload]


def _quantiles(values: np.ndarray) -> dict[str, float]:
    low, middle, high = (float(q) for q in np.quantile(values, (0.05, 0.5, 0.95)))
    return {
        "mean": float(values.mean()),
        "min": int(values.min()),
        "q05": low,
        "median": middle,
        "q95": high,
        "max": int(values.max()),
    }


def gini(counts: np.ndarray) -> float:
    """0 where all items are equally popular, 1 where one item has everything."""
    ascending = np.sort(counts).astype(np.float64)
    places = np.arange(1, len(counts) + 1)
    return float(2 * (places * ascending).sum() / (len(counts) * ascending.sum())) - (
        len(counts) + 1
    ) / len(counts)


def _head_share(counts: np.ndarray, share: float) -> float:
    head = max(1, round(share * len(counts)))
    return float(np.sort(counts)[-head:].sum() / counts.sum())


def _repeats(interactions: Interactions) -> int:
    """Interactions with an item that the same user has had before."""
    return int(_count_repeats(interactions.item_ids, interactions.offsets))


@njit(nogil=True, cache=True)
def _count_repeats(item_ids, offsets):
    repeats = 0
    for user in range(len(offsets) - 1):
        ascending = np.sort(item_ids[offsets[user] : offsets[user + 1]])
        for at in range(1, len(ascending)):
            repeats += ascending[at] == ascending[at - 1]
    return repeats
