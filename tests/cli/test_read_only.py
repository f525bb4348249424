"""An installation that cannot be written, used by somebody who has no home folder."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import scalelab

# A user id without a name and a home, which may read everything and write only what is its own.
USER = 54321
SETPRIV = [
    *("setpriv", "--reuid", str(USER), "--regid", str(USER), "--clear-groups"),
    *("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search"),
]
SMALL = [
    *("--set", "train.epochs=1", "--set", "data.num_users=300", "--set", "data.num_items=600"),
    *("--set", "model.hidden_dim=8", "--set", "device.threads=1"),
]


@pytest.fixture
def call(tmp_path: Path):
    """Run a command of a copy of the package in an empty folder."""
    if os.name != "posix" or os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, by setpriv")
    site, work, scratch = (tmp_path / name for name in ("site", "work", "scratch"))
    package = Path(scalelab.__file__).parent
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(package, site / "scalelab", ignore=ignored)
    for name in ("profiles", "studies"):
        shutil.copytree(package.parent / name, site / "scalelab" / "presets" / name)
    for folder in (work, scratch):
        folder.mkdir()
        os.chown(folder, USER, USER)
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(site), sysconfig.get_path("purelib")]),
        "TMPDIR": str(scratch),
        "OMP_NUM_THREADS": "1",
    }

    def called(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*SETPRIV, sys.executable, "-m", "scalelab", *arguments],
            cwd=work,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )

    if called("--version").returncode != 0:
        pytest.skip("this system does not let a process keep the right to read")
    yield called
    assert {path.name for path in work.iterdir()} <= {"quickstart.duckdb"}, "nothing else is left"


@pytest.mark.slow
def test_a_study_runs_without_a_home_and_leaves_only_its_ledger(call) -> None:
    done = call("sweep", "quickstart", "--quiet", *SMALL)
    assert done.returncode == 0, done.stderr
    assert call("query", "quickstart.duckdb", "SELECT count(*) FROM runs").returncode == 0


@pytest.mark.slow
def test_calibration_says_where_its_file_could_go(call) -> None:
    done = call("doctor", "--calibrate")
    assert done.returncode == 2
    assert "no home folder" in done.stderr
    assert "XDG_CONFIG_HOME" in done.stderr
