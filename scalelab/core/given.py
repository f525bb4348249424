"""Read a run or a study that is given by its name, its path, as a dict or as a spec."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scalelab.core.errors import SpecError, nearest
from scalelab.core.locating import absolute
from scalelab.core.presets import find_preset, preset_names
from scalelab.core.spec import RunSpec, with_overrides
from scalelab.core.study import StudySpec
from scalelab.core.toml_sections import read_toml

__all__ = ["GivenRun", "GivenStudy", "run_of", "run_or_study_of", "study_of"]

# A file with one of these keys is a study, also where it forgets its base.
_OF_STUDIES = StudySpec.model_fields.keys() - RunSpec.model_fields.keys()

GivenRun = str | Path | Mapping[str, Any] | RunSpec
GivenStudy = str | Path | Mapping[str, Any] | StudySpec


def run_of(given: GivenRun, overrides: Mapping[str, Any]) -> RunSpec:
    """The run with some keys changed. A dict has the sections of a run's TOML, or dotted keys such
    as `{"loss.name": "gbce"}`. Raises SpecError.
    """
    if isinstance(given, RunSpec):
        return given.with_(dict(overrides)) if overrides else given
    if isinstance(given, Mapping):
        if "base" in given:
            message = 'a dict with "base" is a study, not a run'
            raise SpecError(message, "write the sections of a run, or call plan or sweep")
        # Sections and dotted keys alike.
        sections = with_overrides({}, _here(given))
        return RunSpec.build(with_overrides(sections, dict(overrides)))
    return RunSpec.load(given, dict(overrides))


def study_of(given: GivenStudy) -> StudySpec:
    """The study. A dict has the keys of a study.toml; without `name` it is called "study".

    Raises SpecError.
    """
    if isinstance(given, Mapping):
        sections = {"name": "study"} | _here(given)
        return StudySpec.from_sections(sections, Path("study.toml"), "study")
    return given if isinstance(given, StudySpec) else StudySpec.load(given)


def run_or_study_of(
    given: GivenRun | GivenStudy, overrides: Mapping[str, Any]
) -> RunSpec | StudySpec:
    """What is meant; a run has the overrides already, a study not yet. Raises SpecError.

    A dict or a file with `base` is a study. A run's preset comes before a file of the same name.
    """
    if isinstance(given, StudySpec):
        return given
    if isinstance(given, RunSpec):
        return run_of(given, overrides)
    if isinstance(given, Mapping):
        return study_of(given) if "base" in given else run_of(given, overrides)
    path = _file_of(given)
    sections, name = read_toml(path), str(given)
    if "base" in sections or not _OF_STUDIES.isdisjoint(sections):
        return StudySpec.from_sections(sections, path, name)
    return RunSpec.build(with_overrides(sections, dict(overrides)), where=name)


def _here(given: Mapping[str, Any]) -> dict[str, Any]:
    """The files of parts that a dict names are looked for in the working folder."""
    return absolute(dict(given), Path.cwd())


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
