"""A made-up study, for the tests of the store."""

import importlib.util
import sys
from pathlib import Path

import pytest

from scalelab.store.ledger import Ledger


def _load_fake():
    spec = importlib.util.spec_from_file_location("fake", Path(__file__).with_name("fake.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["fake"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def fake():
    """The module that makes records up."""
    return _load_fake()


@pytest.fixture
def ledger(tmp_path):
    """An empty ledger."""
    return Ledger.create_or_open(tmp_path / "study.duckdb")
