"""A command reads a study file, and the run that the study varies, once."""

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from scalelab.core import study, toml_sections
from scalelab.core.study import StudySpec

BASE = """
[data]
reader = "synthetic"
num_users = 60
num_items = 500
[model]
name = "sasrec"
hidden_dim = 8
num_blocks = 1
[loss]
name = "dense_ce"
[train]
epochs = 1
[device]
name = "cpu"
threads = 1
"""
STUDY = 'base = "base.toml"\nrepeats = 2\n[axes]\n"batch.size" = [16, 32]\n'


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("sweep", "study.toml", "--executor", "inline"), marks=pytest.mark.slow),
        pytest.param(("sweep", "study.toml", "--dry-run"), marks=pytest.mark.slow),
        ("plan", "study.toml"),
    ],
    ids=["sweep", "dry run", "plan"],
)
def test_a_study_is_read_once_a_command(
    command: tuple[str, ...],
    scalelab: Callable,
    plain_environment: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (plain_environment / "base.toml").write_text(BASE)
    (plain_environment / "study.toml").write_text(STUDY)
    # Another test of this process may have read the same content.
    toml_sections._parsed.cache_clear()
    study._LOADED.clear()
    parsed, made = [], []
    loads, from_sections = tomllib.loads, StudySpec.from_sections.__func__

    def counted_loads(text: str) -> dict:
        parsed.append(text)
        return loads(text)

    def counted_from_sections(cls: type, *given: object) -> StudySpec:
        made.append(given)
        return from_sections(cls, *given)

    monkeypatch.setattr(tomllib, "loads", counted_loads)
    monkeypatch.setattr(StudySpec, "from_sections", classmethod(counted_from_sections))
    assert scalelab(*command).code == 0
    assert parsed.count(STUDY) == 1
    assert parsed.count(BASE) == 1
    assert len(made) == 1
