"""Results so far in, the next cell to try out: Optuna asks within the study's axes and cells."""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import optuna

from scalelab.core.errors import SpecError
from scalelab.core.study import SearchSpec, StudySpec
from scalelab.studies.grid import Cell, base_tables, combinations, resolve, varied_keys

__all__ = ["Figures", "Search"]

_DIRECTIONS = {"quality": "maximize", "memory": "minimize", "time": "minimize"}
# Samplers come back to what they know; so often in a row, and there is little left to find.
_MOST_KNOWN_IN_A_ROW = 200
_WORST = 1e30


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What a finished run is judged by. None: it did not get that far."""

    quality: float | None
    memory: float | None
    time: float | None


@dataclass(kw_only=True)
class _Asked:
    """A cell that was asked for; every trial of the sampler that came to it hears its result."""

    cell: Cell
    waiting: list["optuna.Trial"] = field(default_factory=list)
    told: bool = False
    figures: Figures | None = None


class Search:
    """Asks for cells, each once, and learns from what came of them.

    With the same seed and results told in the same order it asks for the same cells: typed again,
    a search goes the same way through the ledger's results before it goes on. A run that did not
    finish (out of memory, say) is infeasible, which the samplers avoid.
    """

    def __init__(self, study: StudySpec, overrides: Mapping[str, Any]) -> None:
        assert study.search is not None, "a study without [search] has a grid"
        if study.repeats > 1:
            hint = "take `repeats` out; [final] gives the best cells more seeds"
            raise SpecError(f"{study.name}: [search] tries each cell with one seed", hint)
        self.spec: SearchSpec = study.search
        self._tables = base_tables(study)
        self._combined = combinations(study, overrides)
        self._varied = varied_keys(self._combined)
        if len(self._combined) < 2:
            hint = "add [axes] with several values, or several [[cells]]"
            raise SpecError(f"{study.name}: [search] has nothing to choose from", hint)
        axes = {key: values for key, values in study.axes.items() if key not in overrides}
        self._choices: dict[str, Sequence[Any]] = {
            **({"cells": range(len(study.cells))} if len(study.cells) > 1 else {}),
            **{key: values for key, values in axes.items() if len(values) > 1},
        }
        self._strides = _strides([max(1, len(study.cells)), *(len(v) for v in axes.values())])
        self._places = {key: place for place, key in enumerate(["cells", *axes])}
        self._known: dict[str, _Asked] = {}
        self._directions = [_DIRECTIONS[name] for name in self.spec.objectives]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with _without_warnings():
            self._study = optuna.create_study(
                sampler=_sampler(self.spec),
                directions=self._directions,  # pyright: ignore[reportArgumentType]
            )

    def ask(self) -> Cell | None:
        """A cell that was not asked for before; None when there is hardly one left."""
        for _ in range(_MOST_KNOWN_IN_A_ROW):
            if len(self._known) == len(self._combined):
                return None
            trial = self._study.ask()
            cell = self._cell(trial)
            key = cell.spec.as_json()
            asked = self._known.get(key)
            if asked is None:
                self._known[key] = _Asked(cell=cell, waiting=[trial])
                return cell
            asked.waiting.append(trial)
            if asked.told:
                self._tell(asked)
        return None

    def tell(self, cell: Cell, figures: Figures | None) -> None:
        """What came of a cell; None where it did not finish."""
        asked = self._known[cell.spec.as_json()]
        asked.told, asked.figures = True, figures
        self._tell(asked)

    def _cell(self, trial: "optuna.Trial") -> Cell:
        index = 0
        for key, values in self._choices.items():
            if all(isinstance(value, int | float) for value in values) and key != "cells":
                chosen = trial.suggest_int(key, 0, len(values) - 1)
            else:
                chosen = trial.suggest_categorical(key, list(range(len(values))))
            index += self._strides[self._places[key]] * int(chosen)
        return resolve(self._tables, self._combined[index], self._varied)

    def _tell(self, asked: _Asked) -> None:
        values = None if asked.figures is None else self._values(asked.figures)
        worst = [0.0 if d == "maximize" else _WORST for d in self._directions]
        for trial in asked.waiting:
            with _without_warnings():
                trial.set_constraint("finished", 1.0 if values is None else 0.0)
            self._study.tell(trial, worst if values is None else values)
        asked.waiting.clear()

    def _values(self, figures: Figures) -> list[float] | None:
        """In the order of the objectives; None where one of them is not known."""
        values = [getattr(figures, name) for name in self.spec.objectives]
        return None if None in values else values


def _sampler(spec: SearchSpec) -> "optuna.samplers.BaseSampler":
    if spec.sampler == "random":
        return optuna.samplers.RandomSampler(seed=spec.seed)
    if spec.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=spec.seed)
    return optuna.samplers.NSGAIISampler(population_size=spec.population, seed=spec.seed)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Optuna warns of each part that it may still change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield


def _strides(sizes: Sequence[int]) -> list[int]:
    """How far apart in the list of combinations two neighbours along each place lie."""
    return [math.prod(sizes[place + 1 :]) for place in range(len(sizes))]
