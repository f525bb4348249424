"""Leave out of a spec what came later and has its default, so that its fingerprint stays."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

__all__ = ["without_later_defaults"]

# Sections, and keys of sections, that came after fingerprints did.
_SECTIONS = ("measure", "evaluate", "table")
_KEYS = {
    "train": ("schedule", "warmup_updates", "clip_norm", "table"),
    "data": ("targets", "test_items"),
    "evaluate": ("steps_ahead", "fed_back"),
    "model": ("table_dtype",),
}

_TOP_K = {"top_k": None}
# By section and part: options of parts that came later, with their defaults.
_OPTIONS: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("data", "table"): {"escape": "double", "items": ""},
    ("model", "bert4rec"): {"mask_last_prob": 0.0},
    ("model", "sasrec"): {"positions": "absolute", "block": "sasrec", "user_embedding": False},
    ("model", "s3rec"): {"pretrain_samples": "histories", "pretrain_batch_size": 0},
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


def without_later_defaults(spec: BaseModel, sections: dict[str, Any]) -> dict[str, Any]:
    """`sections` of `spec`, less the later ones that have their defaults; changed in place."""
    for name in _SECTIONS:
        if getattr(spec, name) == type(spec).model_fields[name].default:
            del sections[name]
    for name, keys in _KEYS.items():
        section: BaseModel = getattr(spec, name)
        if name not in sections:
            continue
        for key in keys:
            if getattr(section, key) == type(section).model_fields[key].default:
                del sections[name][key]
    for name, named_by in (("data", "reader"), ("model", "name"), ("loss", "name")):
        later = _OPTIONS.get((name, str(sections[name].get(named_by))), {})
        for key, default in later.items():
            if sections[name].get(key) == default:
                sections[name].pop(key, None)
    return sections
