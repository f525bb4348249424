"""Describe a study for the ledger: its id, and its TOML with the overrides of the command."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from scalelab.core.study import StudySpec

__all__ = ["as_toml", "study_id"]


def study_id(study: StudySpec, overrides: Mapping[str, Any]) -> str:
    """Equal for equal studies and overrides, so that the same command continues a study."""
    # The question of a study changes none of its runs.
    sections = {key: value for key, value in _sections(study).items() if key != "question"}
    request = json.dumps([sections, overrides], sort_keys=True, default=str)
    return f"{study.name}-{hashlib.blake2b(request.encode(), digest_size=4).hexdigest()}"


def as_toml(study: StudySpec, overrides: Mapping[str, Any]) -> str:
    """The study, and under `[overrides]` the keys that the command set."""
    return tomli_w.dumps({**_sections(study), "overrides": overrides})


def _sections(study: StudySpec) -> dict[str, Any]:
    # The base by its name: its path on this machine does not change the study.
    sections = study.model_dump(mode="json", exclude_none=True)
    return {**sections, "base": Path(study.base).stem}
