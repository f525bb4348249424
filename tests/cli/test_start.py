"""Ctrl-C before a command has loaded its modules ends it as quietly as later."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

START = {
    "module": ["-m", "scalelab"],
    "command": ["-c", "import sys; from scalelab.__main__ import main; sys.exit(main())"],
}


@pytest.mark.parametrize("how", START)
@pytest.mark.parametrize("library", ["typer", "pydantic"])
def test_ctrl_c_while_modules_are_loaded(tmp_path: Path, how: str, library: str) -> None:
    done = _interrupted(tmp_path, library, *START[how], "plan", "sasrec-synthetic")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_with_json_it_is_a_document(tmp_path: Path) -> None:
    done = _interrupted(tmp_path, "typer", *START["module"], "sweep", "quickstart", "--json")
    assert (done.returncode, done.stderr) == (130, "")
    assert json.loads(done.stdout)["error"]["kind"] == "interrupted"


def test_the_command_starts_there_and_nothing_is_loaded_before() -> None:
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["scripts"]["scalelab"] == "scalelab.__main__:main"
    check = (
        "import sys; before = {*sys.modules}; import scalelab.__main__; "
        "print(sorted(name for name in {*sys.modules} - before if 'scalelab' in name))"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['scalelab', 'scalelab.__main__']"


def _interrupted(folder: Path, library: str, *command: str) -> subprocess.CompletedProcess[str]:
    """A command during which Ctrl-C comes as `library` is loaded."""
    (folder / f"{library}.py").write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    path = os.pathsep.join([str(folder), str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        cwd=folder,
    )
