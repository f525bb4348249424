"""A study whose runs are quick fakes, and a sweep over it."""

import hashlib
import sys
from pathlib import Path

import pytest

from scalelab.core.events import SweepObserver
from scalelab.core.study import StudySpec
from scalelab.sweeping import runner

FAKES = str(Path(__file__).parent / "fakes")

BASE = """
[data]
reader = "table"
path = "ok"
[batch]
size = 16
[loss]
name = "dense_ce"
[train]
epochs = 3
learning_rate = 0.001
"""


class Heard(SweepObserver):
    """Remembers what a sweep announced."""

    def __init__(self):
        self.plans, self.started, self.progress, self.ended, self.messages = [], [], [], [], []
        self.num_ends = 0

    def on_plan(self, name, device, cells):
        self.plans.append(cells)

    def on_run_start(self, run_id):
        self.started.append(run_id)

    def on_progress(self, progress):
        self.progress.append(progress)

    def on_run_end(self, record):
        self.ended.append(record)

    def on_message(self, text):
        self.messages.append(text)

    def on_end(self):
        self.num_ends += 1


def data_fingerprint(data):
    return hashlib.blake2b(str(data.path).encode(), digest_size=8).hexdigest()


def no_forecast(specs, budget_bytes):
    return [None] * len(specs), []


def hooks(**changes):
    """Fakes in place of the lab."""
    plain = {
        "run": "sweeping_fakes:run",
        "modules": lambda specs: [],
        "fingerprint": data_fingerprint,
        "forecast": no_forecast,
    }
    return runner.Hooks(**{**plain, **changes})


@pytest.fixture(autouse=True)
def _importable_fakes(monkeypatch):
    # A warm process takes over the driver's path.
    monkeypatch.syspath_prepend(FAKES)
    assert FAKES in sys.path


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
