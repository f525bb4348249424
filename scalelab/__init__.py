"""Predict, measure and show memory, time and quality of next-item recommenders: the verbs."""

from importlib import metadata as _metadata

from scalelab.api import (
    account,
    advise,
    answer,
    bibtex,
    calibrate,
    chart,
    compare,
    data,
    doctor,
    estimate,
    keys,
    list_parts,
    methods,
    new,
    plan,
    profile,
    query,
    recommend,
    report,
    schema,
    sweep,
    table,
)

__all__ = [
    "account",
    "advise",
    "answer",
    "bibtex",
    "calibrate",
    "chart",
    "compare",
    "data",
    "doctor",
    "estimate",
    "keys",
    "list_parts",
    "methods",
    "new",
    "plan",
    "profile",
    "query",
    "recommend",
    "report",
    "schema",
    "sweep",
    "table",
]

# `scalelab list` is `scalelab.list` here too; left out of `__all__`, or a star import would hide
# the builtin.
list = list_parts


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _metadata.version("scalelab")
    raise AttributeError(f"module 'scalelab' has no attribute {name!r}")
