"""Predict, measure and show memory, time and quality of next-item recommenders: the verbs."""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
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

    list = list_parts

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


def __getattr__(name: str) -> _Any:
    """A verb, loaded when it is first used: a command is ready to be interrupted before that."""
    # `scalelab list` is `scalelab.list` here too; left out of `__all__`, or a star import would
    # hide the builtin.
    if name in __all__ or name == "list":
        from scalelab import api

        return getattr(api, "list_parts" if name == "list" else name)
    if name == "__version__":
        from importlib import metadata

        return metadata.version("scalelab")
    raise AttributeError(f"module 'scalelab' has no attribute {name!r}")


def __dir__() -> tuple[str, ...]:
    return (*globals(), *__all__, "list")
