"""Ledgers to draw: an empty one, and one of a made-up study."""

import importlib.util
import sys
from pathlib import Path

import pytest

from scalelab.store.ledger import Ledger

FAKE = Path(__file__).resolve().parent.parent / "store" / "fake.py"


@pytest.fixture(scope="session")
def fake():
    """The module that makes records up (tests/store/fake.py)."""
    spec = importlib.util.spec_from_file_location("fake", FAKE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def empty(tmp_path_factory):
    """A ledger without runs."""
    return Ledger.create_or_open(tmp_path_factory.mktemp("empty") / "empty.duckdb")


@pytest.fixture(scope="session")
def study(fake, tmp_path_factory):
    """A ledger of some seventy runs, with a spec and messages that try to break the page."""
    ledger = Ledger.create_or_open(tmp_path_factory.mktemp("study") / "quickstart.duckdb")
    records = fake.study()
    ledger.append(records)
    started = records[0].run.started_at
    ledger.add_study("study-1", "quick <i>start</i>", fake.STUDY_TOML, started)
    return ledger
