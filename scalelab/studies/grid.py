"""Expand the axes, `[[cells]]` and repeats of a study into configurations, each once."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from scalelab.core.errors import SpecError
from scalelab.core.identity import RESULTS_VERSION, configuration_of
from scalelab.core.locating import short as short_name
from scalelab.core.number_of_runs import check_number_of_runs
from scalelab.core.presets import find_preset
from scalelab.core.spec import RunSpec, with_overrides
from scalelab.core.study import StudySpec
from scalelab.core.toml_sections import read_toml
from scalelab.studies.combinations import Combinations

__all__ = [
    "Configuration",
    "base_sections",
    "expand",
    "first_configuration",
    "repeat_of",
    "resolve",
    "with_seed",
]

Overrides = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One spec to run. `label` names what varies in the study and its value here, in short."""

    spec: RunSpec
    label: str
    repeat: int = 0

    @property
    def without_seed(self) -> str:
        """Equal for configurations that differ in their seed only."""
        return configuration_of(self.spec.as_sections(), None, RESULTS_VERSION)


def expand(study: StudySpec, overrides: Mapping[str, Any] | None = None) -> list[Configuration]:
    """`[[cells]]` x axes: all configurations with the first seed, then all with the next.

    `overrides` win over the study; one that names an axis takes the place of its values.
    Combinations that come to the same spec (negatives for a loss that takes none) occur once.
    Raises SpecError.
    """
    sections = base_sections(study)
    combined = Combinations(study, overrides or {})
    hint = "take values out of the axes and the [[cells]], or lower `repeats`"
    if study.search is not None:
        hint = "take values out of the axes, or run the search: it plans only what it proposes"
    check_number_of_runs(study.name, combined.number * study.repeats, hint)
    varied = combined.varied()
    found: dict[str, tuple[Configuration, Overrides]] = {}
    for chosen in combined:
        configuration = resolve(sections, chosen, varied)
        found.setdefault(configuration.spec.as_json(), (configuration, chosen))
    once = dict(zip(found, _with_differences([*found.values()]), strict=True))
    if study.repeats == 1:
        return list(once.values())
    unique: dict[str, Configuration] = {}
    for repeat in range(study.repeats):
        for configuration in once.values():
            repeated = repeat_of(configuration, repeat)
            # An axis over seeds and `repeats` may give the same seed twice.
            unique.setdefault(repeated.spec.as_json(), repeated)
    return list(unique.values())


def first_configuration(study: StudySpec, overrides: Mapping[str, Any]) -> list[Configuration]:
    """The first configuration alone, where expanding all takes too long. Raises SpecError."""
    return [resolve(base_sections(study), Combinations(study, overrides).at(0), [])]


def base_sections(study: StudySpec) -> Overrides:
    """The sections of the base run after the study's `[set]`."""
    return with_overrides(read_toml(find_preset("runs", study.base)), study.set)


def resolve(sections: Overrides, chosen: Overrides, varied: list[str]) -> Configuration:
    """The base with the keys of `chosen`. Raises SpecError that names the configuration."""
    label = _label(_also_from(sections, chosen, varied), varied)
    try:
        return Configuration(spec=RunSpec.build(with_overrides(sections, chosen)), label=label)
    except SpecError as error:
        where = f" (configuration {label})" if label else ""
        raise SpecError(f"{error.message}{where}", error.hint) from error


def with_seed(spec: RunSpec, seed: int) -> RunSpec:
    """The same run with another seed."""
    return spec.model_copy(update={"train": spec.train.model_copy(update={"seed": seed})})


def repeat_of(configuration: Configuration, repeat: int) -> Configuration:
    """The same configuration with the seed `repeat` higher."""
    seed = configuration.spec.train.seed + repeat
    words = [word for word in configuration.label.split() if not word.startswith("seed=")]
    label = " ".join([*words, f"seed={seed}"])
    return Configuration(spec=with_seed(configuration.spec, seed), label=label, repeat=repeat)


def _also_from(sections: Overrides, chosen: Overrides, varied: list[str]) -> Overrides:
    """`chosen` with the base's values of the keys that only other configurations set.

    Without the options of losses and negatives: what one loss takes says nothing of another. Nor
    are the options of the base's part those of another part.
    """
    found: Overrides = {}
    for key in varied:
        section, _, name = key.partition(".")
        inner = sections.get(section)
        if section in ("loss", "negatives") or not isinstance(inner, dict) or name not in inner:
            continue
        if chosen.get(f"{section}.name", inner.get("name")) == inner.get("name"):
            found[key] = inner[name]
    return found | chosen


def _label(chosen: Overrides, varied: list[str]) -> str:
    words = []
    for key in varied:
        if key not in chosen:
            continue
        short = key.rpartition(".")[2]
        # `loss.name = "bce"` needs no key to be understood; `batch.size = 64` does.
        is_name = short in ("name", "packer", "reader")
        ambiguous = [k for k in varied if k.rpartition(".")[2] == short and k != key]
        named = ".".join(key.split(".")[-2:]) if ambiguous else short
        words.append(short_name(str(chosen[key])) if is_name else f"{named}={_short(chosen[key])}")
    return " ".join(words)


def _with_differences(found: list[tuple[Configuration, Overrides]]) -> list[Configuration]:
    """The configurations; labels that are equal are followed by what differs within sections."""
    alike: dict[str, list[dict[str, Any]]] = {}
    for configuration, chosen in found:
        alike.setdefault(configuration.label, []).append(_entries(chosen))
    named = []
    for configuration, chosen in found:
        own, others = _entries(chosen), alike[configuration.label]
        keys = dict.fromkeys(key for each in others for key in each)
        differ = [key for key in keys if len({repr(each.get(key)) for each in others}) > 1]
        words = [f"{key.rpartition('.')[2]}={_short(own[key])}" for key in differ if key in own]
        named.append(replace(configuration, label=" ".join([configuration.label, *words])))
    return named


def _entries(chosen: Overrides) -> dict[str, Any]:
    """What sections that are given whole hold, by key."""
    found = {}
    for key, value in chosen.items():
        for number, part in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(part, dict):
                found |= {f"{key}.{number}.{name}": each for name, each in part.items()}
    return found


def _short(value: Any) -> str:
    """A number as people write it; a section by its path, name or reader."""
    if isinstance(value, list):
        return "+".join(_short(part) for part in value)
    if isinstance(value, dict):
        named = [short_name(str(value[key])) for key in ("path", "name", "reader") if key in value]
        return named[0] if named else str(value)
    return f"{value:g}" if isinstance(value, float) else short_name(str(value))
