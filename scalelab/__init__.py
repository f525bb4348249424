"""Predict, measure and show memory, time and quality of next-item recommenders: the verbs."""

from importlib import metadata as _metadata

from scalelab.api import (
    account,
    answer,
    calibrate,
    compare,
    data,
    doctor,
    estimate,
    keys,
    list_parts,
    new,
    plan,
    profile,
    query,
    report,
    schema,
    sweep,
)

__all__ = [
    "account",
    "answer",
    "calibrate",
    "compare",
    "data",
    "doctor",
    "estimate",
    "keys",
    "list_parts",
    "new",
    "plan",
    "profile",
    "query",
    "report",
    "schema",
    "sweep",
]

# `scalelab list` is `scalelab.list` here too; left out of `__all__`, or a star import would hide
# the builtin.
list = list_parts


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _metadata.version("scalelab")
    raise AttributeError(f"module 'scalelab' has no attribute {name!r}")
