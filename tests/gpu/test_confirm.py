"""The one call on a GPU: its sections, and what becomes of one that hangs, dies or is unknown."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent
CONFIRM = FOLDER / "confirm.py"

# A section that hangs, one that dies, one that fails, one that is over in time.
OTHERS = """
import os, sys, time, types
sys.path.insert(0, {folder!r})
import confirm
confirm.PRELOADED = ()
confirm.SECTIONS = {{"hangs": 1, "dies": 20, "fails": 20, "lasts": 20}}

def module(name, run):
    made = types.ModuleType(f"sections.{{name}}")
    made.run = run
    sys.modules[made.__name__] = made

def hangs(call):
    call.row("rows", {{"seen": 1}})
    time.sleep(300)

def fails(call):
    call.check("something holds", False, "it does not")
    raise ValueError("no such thing")

module("hangs", hangs)
module("dies", lambda call: os._exit(3))
module("fails", fails)
module("lasts", lambda call: call.check("something holds", True))
sys.exit(confirm.main(["--out", {out!r}, "--seconds", "60", "--device", "cpu"]))
"""


def confirm(*words):
    return subprocess.run(
        [sys.executable, str(CONFIRM), *words], capture_output=True, text=True, timeout=300
    )


def sections() -> dict[str, int]:
    for node in ast.parse(CONFIRM.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "SECTIONS":
            return ast.literal_eval(node.value)
    pytest.fail("confirm.py has no SECTIONS")


def test_every_section_is_a_file_with_a_function_and_every_file_a_section():
    files = {path.stem for path in (FOLDER / "sections").glob("*.py")} - {"__init__"}
    assert files == set(sections())
    for name in files:
        body = ast.parse((FOLDER / "sections" / f"{name}.py").read_text()).body
        runs = [n for n in body if isinstance(n, ast.FunctionDef) and n.name == "run"]
        assert [each.args.args[0].arg for each in runs] == ["call"], name


def test_a_section_that_does_not_exist_is_one_line(tmp_path):
    done = confirm("--out", str(tmp_path), "--only", "memory,mashine")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert "no section called 'mashine'" in line
    assert "machine" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_section_that_hangs_or_dies_does_not_stop_the_next(tmp_path):
    script = OTHERS.format(folder=str(FOLDER), out=str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1, done.stderr
    found = json.loads((tmp_path / "confirm.json").read_text())
    assert found["hangs"]["outcome"].startswith("killed after")
    assert found["hangs"]["rows"] == [{"seen": 1}]
    assert found["dies"]["outcome"] == "died with exit status 3"
    assert found["fails"]["outcome"] == "ValueError: no such thing"
    assert found["lasts"]["outcome"] == "done"
    log = (tmp_path / "log.txt").read_text()
    assert "FAIL something holds (it does not)" in log
    assert "lasts: done, 1 of 1 checks passed" in log


@pytest.mark.slow
def test_a_dry_run_on_the_cpu_works(tmp_path):
    done = confirm(
        *("--out", str(tmp_path), "--device", "cpu", "--seconds", "120"),
        *("--only", "machine,losses,sampled,probe,largest,reproducible"),
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "confirm.json").read_text())
    assert {found[name]["outcome"] for name in ("losses", "probe", "reproducible")} == {"done"}
    assert found["probe"]["probe"][0]["ms_a_step"] > 0
    assert found["largest"]["predicted_largest"] > 2000
