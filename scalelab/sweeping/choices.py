"""Make the limits, the executor and the search that a sweep's options choose."""

from collections.abc import Callable, Mapping
from typing import Any

from scalelab.core import plugins
from scalelab.core.errors import MissingExtra, SpecError
from scalelab.core.limits import Limits
from scalelab.core.study import StudySpec
from scalelab.core.units import parse_bytes, parse_seconds
from scalelab.workers.fork_server import threads_each
from scalelab.workers.task import Executor

__all__ = ["limits_of", "made_executor", "optional", "search_functions"]


def limits_of(study: StudySpec, budget: int | None) -> Limits:
    """The limits of one run: `budget` bytes, else those of the study. Raises SpecError."""
    return Limits(
        memory_bytes=budget or optional(parse_bytes, study.budget.memory),
        time_s=optional(parse_seconds, study.budget.time),
    )


def optional(parse: Callable[[str], Any], text: str | None) -> Any:
    """The parsed text, None where there is none. Raises SpecError."""
    return None if text is None else parse(text)


def made_executor(name: str, workers: int, address: str | None) -> Executor:
    """The executor of that name. Raises SpecError."""
    options: dict[str, Any] = {"workers": workers, "threads": threads_each(workers)}
    if address is not None:
        if "address" not in plugins.options("executors", name):
            raise SpecError(f"the executor {name!r} has no address", "write --executor cluster")
        options["address"] = address
    return plugins.made("executors", name, **options)


def search_functions(study: StudySpec, overrides: Mapping[str, Any]) -> tuple[Any, Any]:
    """The functions of a search. Raises MissingExtra without Optuna."""
    try:
        from scalelab.studies.search import Search
        from scalelab.sweeping.search_loop import run_search
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "optuna":
            raise
        message = f"{study.name}: [search] needs the package 'optuna'"
        raise MissingExtra(message, 'pip install "scalelab[search]"') from error
    return run_search, Search(study, overrides)
