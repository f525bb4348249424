"""Decide which runs are the same run, which are seeds of one configuration, and which compare."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, cast

from scalelab.core.locating import short

__all__ = [
    "ATTRIBUTES",
    "COMPARABLE",
    "COMPARABLE_IN_TIME",
    "RESULTS_VERSION",
    "configuration_of",
    "fingerprint_of",
]

# Raised whenever the same spec would give other numbers, so that old rows are not taken for new.
# 3: files are read by the types of all their values; options of losses have new names.
RESULTS_VERSION = 3

# The key of the digest of item attributes among the sources of a run.
ATTRIBUTES = "attributes"

# Columns that two runs must share for their qualities and their memory to compare. Runs that kept
# the best epoch by different metrics were trained for different aims.
COMPARABLE = ("data_fingerprint", "protocol", "device", "results_version", "quality_metric")
# The same for their times.
COMPARABLE_IN_TIME = (*COMPARABLE, "threads")


def fingerprint_of(sections: Mapping[str, Any], data_fingerprint: str) -> str:
    """16 hex digits: equal for runs that must give the same numbers, wherever the data lie.

    `sections` are those of a spec. Which of several GPUs it was decides nothing.
    """
    decisive = _decisive(sections)
    del decisive["data"]["path"]
    decisive |= {"data_fingerprint": data_fingerprint, "results_version": RESULTS_VERSION}
    return _digest(decisive, 8)


def configuration_of(
    sections: Mapping[str, Any], data_fingerprint: str | None, results_version: int | None
) -> str:
    """12 hex digits: equal for runs whose fingerprints differ by nothing but the seed.

    While the data have no fingerprint yet, the path stands for it.
    """
    decisive = _decisive(sections)
    decisive["train"].pop("seed", None)
    if data_fingerprint is not None:
        decisive["data"].pop("path", None)
    decisive |= {"data_fingerprint": data_fingerprint, "results_version": results_version}
    return _digest(decisive, 6)


def _decisive(sections: Mapping[str, Any]) -> dict[str, Any]:
    """A copy without what decides no number of the run.

    That is the data set's name, what belongs to a baseline alone, what is only read along, the
    number of the GPU, the folder of a part's file, whose source counts, and the name of a file of
    item attributes, whose digest counts.
    """
    copy = _short(dict(sections))
    copy.pop("measure", None)
    for name in ("data", "train", "device"):
        copy[name] = dict(sections.get(name, {}))
    copy["data"].pop("name", None)
    copy["data"].pop("recent_days", None)
    if ATTRIBUTES in copy.get("sources", {}):
        copy["model"].pop("attributes", None)
    if "name" in copy["device"]:
        copy["device"]["name"] = str(copy["device"]["name"]).partition(":")[0]
    return copy


def _short(sections: Any) -> Any:
    if isinstance(sections, dict):
        return {key: _short(value) for key, value in cast("dict[str, Any]", sections).items()}
    if isinstance(sections, list):
        return [_short(each) for each in cast("list[Any]", sections)]
    return short(sections) if isinstance(sections, str) else sections


def _digest(sections: Mapping[str, Any], size: int) -> str:
    text = json.dumps(sections, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
