"""A study: one question, asked as a base run and what varies."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveInt

from scalelab.core.errors import SpecError
from scalelab.core.locating import absolute, locate
from scalelab.core.presets import find_preset
from scalelab.core.ranges import with_ranges
from scalelab.core.tables import Table, checked, read_toml

__all__ = ["BudgetSpec", "FinalSpec", "SearchSpec", "StudySpec"]


class FinalSpec(Table, frozen=True):
    """More seeds for the cells that validation chose: the best by `by` for each value of `per`."""

    seeds: PositiveInt = 3
    by: str = "valid_ndcg_10"
    per: str = "loss.name"


class BudgetSpec(Table, frozen=True):
    """Limits of one run (`memory`, `time`) and of the whole study (`total`)."""

    memory: str | None = None
    time: str | None = None
    total: str | None = None


class SearchSpec(Table, frozen=True):
    """Optuna asks instead of a grid (extra `search`)."""

    sampler: Literal["random", "tpe", "nsga2"] = "nsga2"
    trials: PositiveInt = 50
    population: PositiveInt = 20
    seed: NonNegativeInt = 0
    objectives: tuple[Literal["quality", "memory", "time"], ...] = ("quality", "memory")


class StudySpec(Table, frozen=True):
    """A question: a base run, what varies, how often, within which limits, which charts.

    With `[search]` an axis may be a range, `{min = 1e-4, max = 1e-2, log = true}`.
    """

    name: str
    base: str
    set: dict[str, Any] = Field(default_factory=dict)
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    cells: tuple[dict[str, Any], ...] = ()
    repeats: PositiveInt = 1
    final: FinalSpec | None = None
    budget: BudgetSpec = BudgetSpec()
    prune: Literal["none", "median"] = "none"
    search: SearchSpec | None = None
    charts: tuple[str, ...] = ("pareto", "breakdown")
    published: str | None = None

    @classmethod
    def load(cls, name: str | Path) -> "StudySpec":
        """A preset's name, or a path, to a study; `base` may lie beside it. Raises SpecError."""
        path = find_preset("studies", name)
        tables = {"name": path.parent.name if path.stem == "study" else path.stem} | read_toml(path)
        tables = absolute(tables, path.parent.absolute())
        study = checked(cls, with_ranges(tables, str(name)), str(name))
        for chart in study.charts:
            try:
                locate("charts", chart)
            except SpecError as error:
                raise SpecError(f"{name}: {error.message}", error.hint) from error
        return study.model_copy(update={"base": str(find_preset("runs", study.base, path.parent))})
