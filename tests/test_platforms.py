"""Results are read on systems without `fcntl` and `os.sched_getaffinity`, which Linux has."""

import subprocess
import sys
from pathlib import Path

import pytest

from scalelab.store.ledger import Ledger

# Any import of these fails, as on Windows; so does the lookup of the function, as on macOS.
WITHOUT = """
import os, sys
for name in ("fcntl", "resource", "pwd", "termios"):
    sys.modules[name] = None
del os.sched_getaffinity
"""
COMMANDS = [
    ("--help",),
    ("plan", "--help"),
    ("sweep", "--help"),
    ("list", "losses"),
    ("query", "LEDGER", "SELECT count(*) FROM runs"),
    ("report", "LEDGER", "--out", "report.html"),
    ("compare", "LEDGER", "--published", "PUBLISHED"),
]


def run_without(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WITHOUT + code],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an empty ledger and a table of published figures."""
    made = tmp_path_factory.mktemp("platform")
    Ledger.create_or_open(made / "some.duckdb")
    header = "source,dataset,protocol,model,loss,setting,metric,value"
    (made / "published.csv").write_text(f"{header}\np,d,test,sasrec,bce,,ndcg@10,0.1\n")
    return made


def test_the_package_can_be_imported(folder: Path) -> None:
    done = run_without("import scalelab, scalelab.cli, scalelab.store.ledger", folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.slow
def test_reading_commands_work(command: tuple[str, ...], folder: Path) -> None:
    names = {"LEDGER": "some.duckdb", "PUBLISHED": "published.csv"}
    arguments = [names.get(word, word) for word in command]
    code = f"sys.argv = ['scalelab', *{arguments!r}]; from scalelab.cli import run; run()"
    done = run_without(code, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_sweep_is_refused_in_one_line(folder: Path) -> None:
    code = """
from pathlib import Path
from scalelab.core.errors import LedgerError
from scalelab.store.lock import driver_lock
try:
    with driver_lock(Path("some.duckdb")):
        pass
except LedgerError as error:
    print(error)
"""
    done = run_without(code, folder)
    assert done.stdout.startswith("cannot lock some.duckdb: this system has no flock")
    assert done.stderr == ""
