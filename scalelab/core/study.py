"""Define a study: a base run, what varies in it, and within which limits."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self, cast

from pydantic import (
    Field,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from scalelab.core.chart_names import check_chart
from scalelab.core.errors import SpecError
from scalelab.core.presets import find_preset
from scalelab.core.ranges import with_ranges, without_lists
from scalelab.core.study_shapes import check_shapes
from scalelab.core.toml_sections import Section, checked, first_comment, read_toml

# The study that was loaded last, by path, name and content.
_LOADED: dict[tuple[str, str, bytes], "StudySpec"] = {}

__all__ = ["BudgetSpec", "FinalSpec", "HalvingSpec", "SearchSpec", "StudySpec"]


class FinalSpec(Section, frozen=True):
    """More seeds for the configurations that are best on validation, by `by` for each `per`."""

    seeds: PositiveInt = 3
    """Seeds of each chosen configuration, those of the grid among them."""
    by: str | None = None
    """Column of results that chooses, such as valid_ndcg_10; left out: evaluate.metric."""
    per: str = "loss.name"
    """Key of the run: the best for each of its values is chosen."""


class BudgetSpec(Section, frozen=True):
    """Limits of one run (`memory`, `time`) and of the whole study (`total`)."""

    memory: str | None = None
    """Memory that one run may take, such as 8GiB."""
    time: str | None = None
    """Time that one run may take, such as 10min."""
    total: str | None = None
    """Time that the whole sweep may take, such as 2h."""


class HalvingSpec(Section, frozen=True):
    """Successive halving: all configurations train briefly, the best of each round for longer.

    Quality on validation chooses. Each round trains anew, so that its runs are those of an ordinary
    sweep with that number of epochs.
    """

    epochs: Annotated[tuple[PositiveInt, ...], Field(min_length=2)]
    """Epochs of each round, rising; they take the place of train.epochs."""
    factor: Annotated[int, Field(ge=2)] = 3
    """After a round one of so many configurations is kept, at least two of them."""

    @model_validator(mode="after")
    def _rising(self) -> Self:
        if list(self.epochs) != sorted(set(self.epochs)):
            raise ValueError("epochs must rise from round to round, such as [3, 9]")
        return self

    def num_kept(self, number: int) -> int:
        """How many of so many configurations go on."""
        return min(number, max(2, -(-number // self.factor)))


class SearchSpec(Section, frozen=True):
    """Optuna chooses configurations, instead of a grid (extra `search`)."""

    sampler: Literal["random", "tpe", "nsga2"] = "nsga2"
    """How the next configuration is chosen."""
    trials: PositiveInt = 50
    """Configurations that are tried."""
    population: PositiveInt = 20
    """Configurations of a generation of nsga2."""
    seed: NonNegativeInt = 0
    """Seed of the sampler."""
    objectives: tuple[Literal["quality", "memory", "time"], ...] = ("quality", "memory")
    """What is to be best: evaluate.metric on validation, peak bytes, training seconds."""


class StudySpec(Section, frozen=True):
    """A question: a base run, what varies, how often, within which limits, which charts.

    With `[search]` an axis may be a range, `{min = 1e-4, max = 1e-2, log = true}`.
    """

    name: str
    """Name of the study; the name of its folder or file if left out."""
    question: str = ""
    """The question of the study; the comment at the top of the file if left out."""
    base: str
    """Run profile that the study varies: the name of a preset, or a path."""
    set: dict[str, Any] = Field(default_factory=dict)
    """Keys of the run that hold for every configuration."""
    axes: dict[str, list[Any]] = Field(default_factory=dict)
    """Lists of values by key of the run, crossed."""
    cells: tuple[dict[str, Any], ...] = ()
    """Combinations of keys, crossed with the axes; a list of values: one for each of them."""
    repeats: PositiveInt = 1
    """Seeds of each configuration."""
    final: FinalSpec | None = None
    """More seeds for the configurations that validation chose."""
    halving: HalvingSpec | None = None
    """Rounds with more epochs for the best configurations, in place of one round for all."""
    budget: BudgetSpec = BudgetSpec()
    """Limits of one run and of the whole sweep."""
    prune: Literal["none", "median"] = "none"
    """Whether a run that is worse than the median at its epoch is ended."""
    search: SearchSpec | None = None
    """A search in place of the grid (extra search)."""
    charts: tuple[str | dict[str, Any], ...] = ("pareto", "breakdown", "learning")
    """Charts of the page in order, see scalelab list charts; or {name = "pareto", width = 600}."""
    published: str | None = None
    """Table of published results to compare with: a path to a csv file."""

    @field_validator("cells", mode="before")
    @classmethod
    def _spell_out(cls, cells: Any) -> Any:
        if not isinstance(cells, list | tuple):
            return cells
        given = cast("Sequence[Any]", cells)
        return without_lists(given) if all(isinstance(each, dict) for each in given) else given

    @classmethod
    def load(cls, name: str | Path) -> "StudySpec":
        """A preset's name, or a path, to a study; `base` may lie beside it. Raises SpecError."""
        path = find_preset("studies", name)
        sections = read_toml(path)
        # Not by its name alone: a file may change while a process runs.
        key = (str(path.absolute()), str(name), path.read_bytes())
        if key not in _LOADED:
            _LOADED.clear()
            question = {"question": first_comment(path)}
            _LOADED[key] = cls.from_sections(question | sections, path, str(name))
        return _LOADED[key]

    @classmethod
    def from_sections(cls, sections: dict[str, Any], path: Path, name: str) -> "StudySpec":
        """The study that the TOML file at `path` holds, already read. Raises SpecError."""
        default = {"name": path.absolute().parent.name if path.stem == "study" else path.stem}
        check_shapes(sections, cls.model_fields, name)
        if "base" not in sections:
            raise SpecError(
                f"{name}: the key 'base' is missing: which run does the study vary?",
                'write base = "sasrec-synthetic" on the first line; see scalelab list profiles',
            )
        study = checked(cls, with_ranges(default | sections, name), name)
        for chart in study.charts:
            try:
                check_chart(chart)
            except SpecError as error:
                raise SpecError(f"{name}: {error.message}", error.hint) from error
        return study.model_copy(update={"base": str(find_preset("runs", study.base, path.parent))})
