"""A study whose runs are quick fakes, and a sweep over it."""

import sys
from pathlib import Path

import pytest

from scalelab.core.study import StudySpec
from scalelab.sweeping import runner

# For the tests of this folder, and for the warm process, which takes over the driver's path.
sys.path.insert(0, str(Path(__file__).parent / "fakes"))

from sweeping_helpers import BASE, Heard, hooks


@pytest.fixture
def study(tmp_path):
    """Make a study of given tables on the fake base."""
    base = tmp_path / "base.toml"
    base.write_text(BASE)

    def made(**tables):
        return StudySpec.model_validate({"name": "fake", "base": str(base), **tables})

    return made


@pytest.fixture
def sweep(tmp_path):
    """Sweep with fakes into one ledger."""

    def swept(study, **options):
        given = {"executor": "inline", "hooks": hooks(), **options}
        return runner.sweep(study, given.pop("ledger", tmp_path / "fake.duckdb"), **given)

    return swept


@pytest.fixture
def heard():
    """An observer that remembers."""
    return Heard()
