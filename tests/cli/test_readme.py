"""Every command of the README runs as it is written, in a folder with the files that it names."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from scalelab.cli import app
from scalelab.core.presets import preset_names

from .conftest import Done

README = Path(__file__).resolve().parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")


def _shown() -> list[str]:
    """Every `scalelab ...` of the README: in blocks of shell and between back quotes."""
    blocks = re.findall(r"```(?:bash|sh|console)\n(.*?)```", TEXT, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL))
    found = [
        part.removeprefix("$ ").strip()
        for line in lines
        for part in re.split(r"&&|\|\|?|;", line.split("  #")[0])
    ]
    commands = [part for part in found if re.match(r"scalelab( |$)", part)]
    return list(dict.fromkeys(commands))


SHOWN = _shown()


def test_the_readme_shows_commands() -> None:
    assert len(SHOWN) >= 8


@pytest.mark.parametrize("line", SHOWN)
def test_a_command_of_the_readme_can_be_typed(line: str, scalelab: Callable) -> None:
    """Its command, options and choices exist; nothing is run."""
    words = shlex.split(line)[1:]
    command = typer.main.get_command(app)
    context = None
    while words and hasattr(command, "commands"):
        name = words.pop(0)
        assert name in command.commands, f"the README names {name!r}"
        command = command.commands[name]
    if words:
        context = command.make_context("scalelab", list(words))
        assert context.params
    path = [part for part in shlex.split(line)[1:3] if re.fullmatch(r"[a-z]+", part)]
    helped = scalelab(path[0], "--help")
    assert helped.code == 0


def test_every_command_is_in_the_readme() -> None:
    named = {shlex.split(line)[1] for line in SHOWN if len(shlex.split(line)) > 1}
    commands = set(typer.main.get_command(app).commands)
    assert commands <= named


@pytest.mark.parametrize("line", [line for line in SHOWN if " sweep " in line])
def test_a_study_of_the_readme_is_shipped_or_the_readers_own(line: str) -> None:
    name = shlex.split(line)[2]
    assert name in preset_names("studies") or name.endswith(".toml")


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL))
def test_a_study_of_the_readme_is_a_study(block: str, tmp_path: Path) -> None:
    from scalelab.core.study import StudySpec
    from scalelab.studies.grid import expand

    assert "base" in tomllib.loads(block)
    file = tmp_path / "readme.toml"
    file.write_text(block, encoding="utf-8")
    assert len(expand(StudySpec.load(file))) > 1


# Seconds of training or planning; the others read and draw, some of them for long.
WORKS = ("sweep", "plan", "advise", "profile", "doctor", "estimate", "report", "recommend")
SLOW = (*WORKS, "data", "schema", "keys")
# The README's own study takes hours, and the name of a folder of the package is not a command.
MY_STUDY = """
base = "sasrec-synthetic"
[set]
"data.num_users" = 60
"data.num_items" = 400
"model.hidden_dim" = 8
"model.num_blocks" = 1
"batch.max_len" = 10
"train.epochs" = 1
[axes]
"loss.name" = ["cross_entropy", "rece"]
"""
STEP_FILE = re.search(r"`scalelab estimate (\S+):", TEXT)


def _is_only_named(line: str) -> bool:
    """Whether the README speaks of a command, which would need arguments, without typing it."""
    words = shlex.split(line)[1:]
    commands = typer.main.get_command(app).commands
    return len(words) == 1 and any(part.required for part in commands[words[0]].params)


# The first needs Slurm and Ray; its options are checked above.
NOT_RUN = [line for line in SHOWN if "$head" in line or _is_only_named(line)]


def _as_written(line: str) -> object:
    words = shlex.split(line)
    is_slow = len(words) > 1 and words[1] in SLOW
    return pytest.param(line, marks=pytest.mark.slow) if is_slow else line


MY_RUN = """
[data]
path = "ratings.csv"
[model]
hidden_dim = 8
num_blocks = 1
[loss]
name = "dense_ce"
[train]
epochs = 1
"""
# What a reader has typed before, by how a command begins.
BEFORE = {"scalelab recommend kept": "scalelab profile my-run.toml --save-model kept"}


@pytest.fixture
def folder(filled_ledger: Path, tmp_path: Path) -> Path:
    """A folder with all files that the README's reader would have, and a `scalelab` to call."""
    for name in ("quickstart", "my-study"):
        shutil.copy(filled_ledger, tmp_path / f"{name}.duckdb")
    with duckdb.connect(str(tmp_path / "my-study.duckdb")) as connection:
        connection.execute(
            "INSERT INTO metrics SELECT * REPLACE ('hr' AS name, least(1, 2 * value) AS value) "
            "FROM metrics WHERE name = 'ndcg'"
        )
    (tmp_path / "my-study.toml").write_text(MY_STUDY, encoding="utf-8")
    (tmp_path / "my-run.toml").write_text(MY_RUN, encoding="utf-8")
    (tmp_path / "published.csv").write_text(
        "dataset,model,loss,metric,value\nsimulated,sasrec,bce,ndcg@10,0.05\n", encoding="utf-8"
    )
    rows = [(user, (user + 3 * step) % 40, step) for user in range(80) for step in range(9)]
    lines = "".join(f"{user},{item},{1_700_000_000 + 9 * time}\n" for user, item, time in rows)
    for name in ("ratings", "histories"):
        text = f"user,item,timestamp\n{lines}"
        (tmp_path / f"{name}.csv").write_text(text, encoding="utf-8")
    start = datetime(2024, 1, 1)
    columns = {
        "user": [f"u{user}" for user, _, _ in rows],
        "item": [f"i{item}" for _, item, _ in rows],
        "time": [start + timedelta(hours=80 * time + user) for user, _, time in rows],
    }
    pq.write_table(pa.table(columns), tmp_path / "clicks.parquet")
    blocks = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    if STEP_FILE is not None:
        (step,) = [block for block in blocks if "def small()" in block]
        (tmp_path / STEP_FILE[1]).write_text(step, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "scalelab"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m scalelab "$@"\n')
    command.chmod(0o755)
    return tmp_path


def _run(line: str, folder: Path) -> Done:
    """Runs a line as a shell does."""
    environment = os.environ | {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(README.parent),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        line, shell=True, cwd=folder, env=environment, capture_output=True, text=True, timeout=1800
    )
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.mark.parametrize("line", [_as_written(line) for line in SHOWN if line not in NOT_RUN])
def test_a_command_of_the_readme_runs_as_written(
    line: str, folder: Path, scalelab: Callable[..., Done]
) -> None:
    for start, command in BEFORE.items():
        if line.startswith(start):
            assert _run(command, folder).code == 0
    if line == "scalelab sweep quickstart":
        (folder / "quickstart.duckdb").unlink()
    before = set(folder.iterdir())
    _, *words = shlex.split(line)
    # A process of its own costs the imports, which only a sweep or a shell's own words need.
    needs_shell = words[0] in WORKS or any(sign in line for sign in "|<>$&;*")
    done = _run(line, folder) if needs_shell else scalelab(*words)
    # A doctor that finds something broken says so by its exit code.
    assert done.code in ((0, 1) if "doctor" in line else (0,)), done.err
    assert done.out or done.err
    for option, name in re.findall(r"(--out) (\S+)", line):
        assert (folder / name).exists(), option
    if "--format png" in line:
        (made,) = set(folder.iterdir()) - before
        assert made.read_bytes().startswith(b"\x89PNG")


def test_the_shell_of_the_readme_is_shell(tmp_path: Path) -> None:
    for number, block in enumerate(re.findall(r"```bash\n(.*?)```", TEXT, flags=re.DOTALL)):
        file = tmp_path / f"{number}.sh"
        file.write_text(block, encoding="utf-8")
        subprocess.run(["bash", "-n", file], check=True)


@pytest.mark.slow
def test_the_budget_of_the_readme_gives_the_best_that_fits(folder: Path) -> None:
    (line,) = [line for line in SHOWN if "best_under_budget" in line]
    assert "8GiB" in line
    done = _run(f"{line} --format csv", folder)
    assert done.code == 0, done.err
    assert len(done.out.splitlines()) == 2
