"""Leave out of a spec what came later and has its default, so that its fingerprint stays."""

from typing import Any

from pydantic import BaseModel

__all__ = ["without_later_defaults"]

# Sections, and keys of sections, that came after fingerprints did.
_SECTIONS = ("measure", "evaluate", "table")
_KEYS = {
    "train": ("schedule", "warmup_updates", "clip_norm", "table"),
    "data": ("targets",),
    "model": ("table_dtype",),
}


def without_later_defaults(spec: BaseModel, sections: dict[str, Any]) -> dict[str, Any]:
    """`sections` of `spec`, less the later ones that have their defaults; changed in place."""
    for name in _SECTIONS:
        if getattr(spec, name) == type(spec).model_fields[name].default:
            del sections[name]
    for name, keys in _KEYS.items():
        section: BaseModel = getattr(spec, name)
        for key in keys:
            if getattr(section, key) == type(section).model_fields[key].default:
                del sections[name][key]
    return sections
