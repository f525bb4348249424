"""Predict memory and seconds of each configuration of a run or a study; nothing runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalelab.core.errors import (
    MissingExtra,
    PredictionUnsupported,
    ScalelabError,
    SpecError,
    nearest,
)
from scalelab.core.presets import find_preset, preset_names
from scalelab.core.spec import DataSpec, RunSpec, with_overrides
from scalelab.core.study import StudySpec
from scalelab.core.toml_sections import read_toml
from scalelab.core.units import parse_bytes
from scalelab.studies.grid import Configuration, expand

__all__ = ["configurations_of", "predict_configurations"]


def predict_configurations(
    run_or_study: str | Path,
    overrides: Mapping[str, Any],
    *,
    on: str | Path | None = None,
    budget_bytes: int | None = None,
    solve_for: str | None = None,
) -> list[dict[str, Any]]:
    """One document per configuration, for its first seed: spec, label, memory, seconds, fits.

    With `solve_for` also `key`, `value` (the largest that fits) and `next_value`, and the rest is
    for that value. `on` is a device profile, None the device of this machine that the run names;
    `budget_bytes` None is the study's, else what the device has. What cannot be predicted has a
    `reason`, and None for `fits`. Raises SpecError and DataError.
    """
    configurations, study_budget_bytes = configurations_of(run_or_study, overrides)
    # Imported here: a misspelt name must not wait for torch.
    from scalelab.planning.devices import device_for, load_device

    device = None if on is None else load_device(on)
    budget_bytes = budget_bytes if budget_bytes is not None else study_budget_bytes
    first_seeds = {
        configuration.without_seed: configuration for configuration in reversed(configurations)
    }
    chosen = [
        (configuration, device or device_for(configuration.spec))
        for configuration in reversed(first_seeds.values())
    ]
    if solve_for is not None:
        return [
            _solved(configuration, solve_for, device, budget_bytes)
            for configuration, device in chosen
        ]
    return _predicted(chosen, budget_bytes)


def configurations_of(
    run_or_study: str | Path, overrides: Mapping[str, Any]
) -> tuple[list[Configuration], int | None]:
    """The configurations (of a run, one) and the study's memory budget. Raises SpecError."""
    path = _file_of(run_or_study)
    sections, name = read_toml(path), str(run_or_study)
    if "base" not in sections:
        spec = RunSpec.build(with_overrides(sections, dict(overrides)), where=name)
        return [Configuration(spec=spec, label="")], None
    study = StudySpec.from_sections(sections, path, name)
    memory = study.budget.memory
    return expand(study, overrides), parse_bytes(memory) if memory is not None else None


def _file_of(name: str | Path) -> Path:
    """The TOML file of a run or a study; a run's preset wins over a file of the same name."""
    runs, studies = preset_names("runs"), preset_names("studies")
    if str(name) in runs:
        return find_preset("runs", name)
    if str(name) not in studies and not Path(name).exists():
        raise SpecError(
            f"no run profile, no study and no file called {str(name)!r}",
            nearest(str(name), [*runs, *studies]),
        )
    return find_preset("studies", name)


def _predicted(
    chosen: list[tuple[Configuration, Any]], budget_bytes: int | None
) -> list[dict[str, Any]]:
    from scalelab.datasets.load import LengthsOnly, lengths
    from scalelab.planning.predict import predict

    known: dict[str, LengthsOnly] = {}

    def lengths_of(data: DataSpec) -> LengthsOnly:
        key = data.model_dump_json()
        if key not in known:
            known[key] = lengths(data)
        return known[key]

    def prediction_of(configuration: Configuration, device: Any) -> dict[str, Any]:
        data = lengths_of(configuration.spec.data)
        try:
            return predict(
                configuration.spec, device, budget_bytes=budget_bytes, data=data
            ).as_document()
        except (PredictionUnsupported, MissingExtra) as error:
            return _unknown(device, budget_bytes, error)

    return [
        _document(configuration) | prediction_of(configuration, device)
        for configuration, device in chosen
    ]


def _unknown(device: Any, budget_bytes: int | None, error: ScalelabError) -> dict[str, Any]:
    """The same keys where there is no prediction."""
    from scalelab.planning.predict import limit_bytes

    return {
        "device": device.name,
        "memory": {},
        "evaluation": {},
        "seconds": {"step": None, "run": None},
        "fits": None,
        "limit_bytes": limit_bytes(device, budget_bytes),
        "overflow": None,
        "reason": f"{error.message}; {error.hint}" if error.hint else error.message,
    }


def _solved(
    configuration: Configuration, key: str, device: Any, budget_bytes: int | None
) -> dict[str, Any]:
    from scalelab.planning.solve import solve

    try:
        found = solve(configuration.spec, key, device, budget_bytes=budget_bytes)
    except (PredictionUnsupported, MissingExtra) as error:
        answer = {"key": key, "value": None, "next_value": None}
        return _document(configuration) | answer | _unknown(device, budget_bytes, error)
    changed = Configuration(
        spec=configuration.spec.with_({key: found.value}), label=configuration.label
    )
    answer = {"key": key, "value": found.value, "next_value": found.next_value}
    return _document(changed) | answer | found.prediction.as_document()


def _document(configuration: Configuration) -> dict[str, Any]:
    return {"spec": configuration.spec.as_sections(), "label": configuration.label}
