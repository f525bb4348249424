"""Predict memory and seconds of each configuration of a run or a study; nothing runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalelab.core import plugins
from scalelab.core.errors import (
    MissingExtra,
    PredictionUnsupported,
    ScalelabError,
    SpecError,
)
from scalelab.core.given import GivenRun, GivenStudy, run_or_study_of
from scalelab.core.spec import RunSpec
from scalelab.core.units import parse_bytes
from scalelab.studies.grid import Configuration, expand

if TYPE_CHECKING:
    from scalelab.datasets.load import LengthsOnly
    from scalelab.planning.devices import DeviceProfile

__all__ = ["Predictor", "Report", "Scale", "configurations_of", "predict_configurations"]

# Is called with how many are done, of how many, and what is next.
Report = Callable[[int, int, str], None]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """Numbers of items and users to plan for in place of those of the data. None: as they are."""

    num_items: int | None = None
    num_users: int | None = None

    def applied_to(self, configuration: Configuration) -> Configuration:
        """Generated data get these sizes; files keep their spec."""
        spec = configuration.spec
        options = plugins.options("readers", spec.data.reader) if spec.data.path is None else {}
        wanted = {"num_items": self.num_items, "num_users": self.num_users}
        changes = {
            f"data.{name}": count
            for name, count in wanted.items()
            if count is not None and name in options
        }
        if not changes:
            return configuration
        return Configuration(spec=spec.with_(changes), label=configuration.label)


def predict_configurations(
    run_or_study: GivenRun | GivenStudy,
    overrides: Mapping[str, Any],
    *,
    on: str | Path | None = None,
    budget_bytes: int | None = None,
    solve_for: str | None = None,
    scale: Scale = Scale(),
    report: Report = lambda done, total, label: None,
) -> list[dict[str, Any]]:
    """One document per configuration, for its first seed: spec, label, memory, seconds, fits.

    With `solve_for` also `key`, `value` (the largest that fits), `next_value` and `limited_by`, and
    the rest is for that value; configurations that differ in that key only are one. `on` is a
    device profile, None the device of this machine that the run names; `budget_bytes` None is the
    study's, else what the device has. What cannot be predicted has a `reason`, and None for `fits`.
    Raises SpecError and DataError.
    """
    configurations, study_budget_bytes = configurations_of(run_or_study, overrides, solve_for)
    before = len({configuration.without_seed for configuration in configurations})
    configurations = [scale.applied_to(configuration) for configuration in configurations]
    if len({configuration.without_seed for configuration in configurations}) < before:
        message = (
            "the study varies data.num_items or data.num_users, and --items or --users sets it"
        )
        raise SpecError(message, "leave out --items or --users")
    budget_bytes = budget_bytes if budget_bytes is not None else study_budget_bytes
    predictor = Predictor(on=on, budget_bytes=budget_bytes, scale=scale)
    first_seeds = {
        configuration.without_seed: configuration for configuration in reversed(configurations)
    }
    found, total = [], len(first_seeds)
    for configuration in reversed(first_seeds.values()):
        label, done = configuration.label, len(found)
        report(done, total, label)
        if solve_for is None:
            found.append(predictor.predicted(configuration))
        else:
            found.append(
                predictor.solved(
                    configuration,
                    solve_for,
                    lambda tried, done=done, label=label: report(
                        done, total, f"{label} {tried}".strip()
                    ),
                )
            )
    return found


def configurations_of(
    run_or_study: GivenRun | GivenStudy,
    overrides: Mapping[str, Any],
    without: str | None = None,
) -> tuple[list[Configuration], int | None]:
    """The configurations (of a run, one) and the study's memory budget. Raises SpecError.

    Those of a study that differ in the key `without` only are one.
    """
    study = run_or_study_of(run_or_study, overrides)
    if isinstance(study, RunSpec):
        return [Configuration(spec=study, label="")], None
    memory = study.budget.memory
    budget_bytes = parse_bytes(memory) if memory is not None else None
    found = expand(study, overrides)
    return (_same_without(found, without) if without else found), budget_bytes


def _same_without(configurations: list[Configuration], key: str) -> list[Configuration]:
    """The first of each that differ in `key` alone, and its label without it."""
    section, _, name = key.partition(".")
    once: dict[str, Configuration] = {}
    for each in configurations:
        sections = each.spec.as_sections()
        parts = sections[section] if isinstance(sections.get(section), list) else [sections]
        for part in parts:
            (part if part is not sections else part.get(section, {})).pop(name, None)
        words = [
            word
            for word in each.label.split()
            if word.partition("=")[0] not in (name, key) or "=" not in word
        ]
        once.setdefault(str(sections), Configuration(spec=each.spec, label=" ".join(words)))
    return list(once.values())


class Predictor:
    """Predicts configurations on one device; the lengths of each data set are read once.

    `headroom` is the share of the limit that is to stay free. Raises SpecError.
    """

    def __init__(
        self,
        *,
        on: str | Path | None = None,
        budget_bytes: int | None = None,
        headroom: float = 0.0,
        scale: Scale = Scale(),
    ) -> None:
        # Imported here: a misspelt name must not wait for torch.
        from scalelab.planning.devices import load_device

        self.device = None if on is None else load_device(on)
        self._budget_bytes = budget_bytes
        self._headroom = headroom
        self._scale = scale
        self._lengths: dict[str, LengthsOnly] = {}

    def predicted(self, configuration: Configuration) -> dict[str, Any]:
        """The document of a configuration. Raises SpecError and DataError."""
        from scalelab.planning.predict import predict

        device = self._device_of(configuration)
        data = self.lengths_of(configuration)
        try:
            found = predict(
                configuration.spec,
                device,
                budget_bytes=self._budget_bytes,
                headroom=self._headroom,
                data=data,
            )
        except (PredictionUnsupported, MissingExtra) as error:
            return _document(configuration, device) | self._unknown(device, error)
        return _document(configuration, device) | found.as_document()

    def solved(
        self, configuration: Configuration, key: str, report: Callable[[str], None]
    ) -> dict[str, Any]:
        """The document with the largest value of `key` that fits. Raises SpecError, DataError."""
        from scalelab.planning.solve import solve

        device = self._device_of(configuration)
        try:
            found = solve(
                configuration.spec,
                key,
                device,
                budget_bytes=self._budget_bytes,
                headroom=self._headroom,
                data=self.lengths_of(configuration),
                report=report,
            )
        except (PredictionUnsupported, MissingExtra) as error:
            answer = {"key": key, "value": None, "next_value": None, "limited_by": None}
            return _document(configuration, device) | answer | self._unknown(device, error)
        changed = Configuration(
            spec=configuration.spec.with_({key: found.value}), label=configuration.label
        )
        answer = {
            "key": key,
            "value": found.value,
            "next_value": found.next_value,
            "limited_by": found.limited_by,
        }
        return _document(changed, device) | answer | found.prediction.as_document()

    def lengths_of(self, configuration: Configuration) -> "LengthsOnly":
        """Lengths of the data at the scale that is planned for. Raises DataError."""
        from scalelab.datasets.load import lengths
        from scalelab.studies.scaling import scaled

        data = configuration.spec.data
        key = data.model_dump_json()
        if key not in self._lengths:
            self._lengths[key] = scaled(
                lengths(data),
                num_items=self._scale.num_items,
                num_users=self._scale.num_users,
                max_eval_users=data.max_eval_users,
            )
        return self._lengths[key]

    def _device_of(self, configuration: Configuration) -> "DeviceProfile":
        from scalelab.planning.devices import device_for

        return self.device or device_for(configuration.spec)

    def _unknown(self, device: "DeviceProfile", error: ScalelabError) -> dict[str, Any]:
        """The same keys where there is no prediction."""
        from scalelab.planning.limits import limit_bytes

        return {
            "device": device.name,
            "memory": {},
            "evaluation": {},
            "needed_bytes": None,
            "host_rss_bytes": None,
            "process_bytes": None,
            "seconds": {"step": None, "evaluation": None, "run": None, "pretraining": None},
            "fits": None,
            "limit_bytes": int(limit_bytes(device, self._budget_bytes) * (1 - self._headroom)),
            "overflow": None,
            "reason": f"{error.message}; {error.hint}" if error.hint else error.message,
        }


def _document(configuration: Configuration, device: "DeviceProfile") -> dict[str, Any]:
    return {
        "spec": configuration.spec.as_sections(),
        "label": configuration.label,
        "device_kind": device.kind,
        "device_bytes": device.memory_bytes,
    }
