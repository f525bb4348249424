"""List options of parts that came after fingerprints did, so that old runs keep theirs."""

from collections.abc import Mapping
from typing import Any

__all__ = ["without_added"]

_TOP_K = {"top_k": None}
# By section and part: options that are left out of a spec where they have this value, which is
# their default.
_ADDED: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("model", "bert4rec"): {"mask_last_prob": 0.0},
    ("model", "sasrec"): {"positions": "absolute", "block": "sasrec"},
    ("loss", "bce"): _TOP_K,
    ("loss", "gbce"): _TOP_K,
    ("loss", "bpr"): _TOP_K,
    ("loss", "bpr_max"): _TOP_K,
    ("loss", "top1"): _TOP_K,
    ("loss", "top1_max"): _TOP_K,
    ("loss", "sampled_softmax"): {
        "logq_of": "source",
        "logq_target": True,
        "temperature": 1.0,
        "cosine": False,
    },
}


def without_added(section: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """A section of a spec without such options; "name" says whose they are."""
    added = _ADDED.get((section, str(options.get("name"))), {})
    return {key: value for key, value in options.items() if key not in added or value != added[key]}
