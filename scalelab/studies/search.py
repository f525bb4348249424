"""Let Optuna choose the next configuration to run from the axes and `[[cells]]` of a study."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import optuna

from scalelab.core.errors import SpecError
from scalelab.core.study import SearchSpec, StudySpec
from scalelab.studies.combinations import Combinations
from scalelab.studies.grid import Configuration, base_sections, resolve

__all__ = ["ObjectiveValues", "Search"]

_DIRECTIONS = {"quality": "maximize", "memory": "minimize", "time": "minimize"}
# Samplers propose configurations again. After so many repetitions in a row, little is left to find.
_MOST_REPEATED = 200
_WORST = 1e30


@dataclass(frozen=True, kw_only=True)
class ObjectiveValues:
    """The objectives of a finished run. None: the run did not measure it."""

    quality: float | None
    memory: float | None
    time: float | None


@dataclass(kw_only=True)
class _PendingTrial:
    """A proposed configuration, and all of Optuna's trials that proposed it."""

    configuration: Configuration
    trials: list["optuna.Trial"] = field(default_factory=list)
    finished: bool = False
    values: ObjectiveValues | None = None


class Search:
    """Proposes configurations, each once, with Optuna's ask and tell.

    With the same seed, and results given in the same order, it proposes the same configurations: a
    search that is started again replays the results in the ledger and then goes on. A run that did
    not finish (out of memory, say) is infeasible, which the samplers avoid.
    """

    def __init__(self, study: StudySpec, overrides: Mapping[str, Any]) -> None:
        assert study.search is not None, "a study without [search] has a grid"
        if study.repeats > 1:
            hint = "take `repeats` out; [final] gives the best configurations more seeds"
            raise SpecError(f"{study.name}: [search] tries each configuration with one seed", hint)
        self.spec: SearchSpec = study.search
        self._sections = base_sections(study)
        self._combined = Combinations(study, overrides)
        self._varied = self._combined.varied()
        if self._combined.number < 2:
            hint = "add [axes] with several values, or several [[cells]]"
            raise SpecError(f"{study.name}: [search] has nothing to choose from", hint)
        axes = self._combined.axes
        self._choices: dict[str, Sequence[Any]] = {
            **({"cells": range(len(study.cells))} if len(study.cells) > 1 else {}),
            **{key: values for key, values in axes.items() if len(values) > 1},
        }
        self._strides = dict(zip(["cells", *axes], self._combined.strides, strict=True))
        self._proposed: dict[str, _PendingTrial] = {}
        self._directions = [_DIRECTIONS[name] for name in self.spec.objectives]
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with _without_warnings():
            self._study = optuna.create_study(
                sampler=_sampler(self.spec),
                directions=self._directions,  # pyright: ignore[reportArgumentType]
            )

    def ask(self) -> Configuration | None:
        """A configuration that was not proposed before; None when hardly one is left."""
        for _ in range(_MOST_REPEATED):
            if len(self._proposed) == self._combined.number:
                return None
            trial = self._study.ask()
            configuration = self._configuration(trial)
            key = configuration.spec.as_json()
            pending = self._proposed.get(key)
            if pending is None:
                self._proposed[key] = _PendingTrial(configuration=configuration, trials=[trial])
                return configuration
            pending.trials.append(trial)
            if pending.finished:
                self._finish(pending)
        return None

    def tell(self, configuration: Configuration, values: ObjectiveValues | None) -> None:
        """Record the result of a configuration; None where it did not finish."""
        pending = self._proposed[configuration.spec.as_json()]
        pending.finished, pending.values = True, values
        self._finish(pending)

    def _configuration(self, trial: "optuna.Trial") -> Configuration:
        index = 0
        for key, values in self._choices.items():
            if all(isinstance(value, int | float) for value in values) and key != "cells":
                chosen = trial.suggest_int(key, 0, len(values) - 1)
            else:
                chosen = trial.suggest_categorical(key, list(range(len(values))))
            index += self._strides[key] * int(chosen)
        return resolve(self._sections, self._combined.at(index), self._varied)

    def _finish(self, pending: _PendingTrial) -> None:
        values = None if pending.values is None else self._ordered(pending.values)
        worst = [0.0 if d == "maximize" else _WORST for d in self._directions]
        for trial in pending.trials:
            with _without_warnings():
                trial.set_constraint("finished", 1.0 if values is None else 0.0)
            self._study.tell(trial, worst if values is None else values)
        pending.trials.clear()

    def _ordered(self, values: ObjectiveValues) -> list[float] | None:
        """In the order of the objectives; None where one of them is not known."""
        ordered = [getattr(values, name) for name in self.spec.objectives]
        return None if None in ordered else ordered


def _sampler(spec: SearchSpec) -> "optuna.samplers.BaseSampler":
    if spec.sampler == "random":
        return optuna.samplers.RandomSampler(seed=spec.seed)
    if spec.sampler == "tpe":
        return optuna.samplers.TPESampler(seed=spec.seed)
    return optuna.samplers.NSGAIISampler(population_size=spec.population, seed=spec.seed)


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hide Optuna's warnings that a part is experimental."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        yield
