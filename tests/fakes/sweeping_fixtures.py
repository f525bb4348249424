"""Fixtures of the tests in studies, workers and sweeping: a study whose runs are quick fakes."""

import pytest
from sweeping_helpers import BASE, RecordingObserver, hooks

from scalelab.core.study import StudySpec
from scalelab.sweeping import runner

__all__ = ["observer", "study", "sweep"]


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
def observer():
    """An observer that remembers."""
    return RecordingObserver()
