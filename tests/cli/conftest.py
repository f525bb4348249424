"""A ledger with two finished runs and one that failed, and a way to call the command line."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from scalelab import cli
from scalelab.core.records import Outcome
from scalelab.core.units import MIB
from scalelab.store.ledger import Ledger

from .simulated import planned, record


@dataclass(frozen=True, kw_only=True)
class Done:
    """What a command left on the two streams, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        return json.loads(self.out)


@pytest.fixture
def scalelab(capsys: pytest.CaptureFixture[str], plain_environment: Path) -> Callable[..., Done]:
    """Runs a command in this process, in an empty folder."""

    def call(*arguments: object) -> Done:
        with pytest.raises(SystemExit) as ended:
            cli.run([str(argument) for argument in arguments])
        written = capsys.readouterr()
        return Done(code=int(ended.value.code or 0), out=written.out, err=written.err)

    return call


@pytest.fixture
def ledger(filled_ledger: Path, tmp_path: Path) -> Path:
    """A ledger of one's own with three runs: done, done, failed."""
    return Path(shutil.copy(filled_ledger, tmp_path / "small.duckdb"))


@pytest.fixture(scope="session")
def filled_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The one that is copied."""
    path = tmp_path_factory.mktemp("ledger") / "small.duckdb"
    store = Ledger.create_or_open(path)
    store.add_study("s", "small", "", datetime(2026, 1, 1))
    store.append(
        [
            record(planned(0), quality=0.05, peak=40 * MIB),
            record(planned(1), quality=0.03, peak=20 * MIB),
            record(planned(2), Outcome.FAILED),
        ]
    )
    return path
