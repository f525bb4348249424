"""A stranger's parts, outside the tree: what CONTRIBUTING.md says, done as it says it.

The commands are those of the text; a package is installed into a folder without any network.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def block(language: str, holding: str) -> str:
    """The block of CONTRIBUTING.md in `language` that holds these words."""
    found = re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    (only,) = [text for text in found if holding in text]
    return only


def run(command: str, folder: Path, *paths: Path, code: int = 0) -> str:
    """One command of the text, typed in `folder`; returns what it printed."""
    words = command.split()
    words[0:1] = [sys.executable, "-m", words[0]]
    path = os.pathsep.join(str(each) for each in (*paths, ROOT))
    done = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def counts(ledger: str, folder: Path, *paths: Path) -> list[tuple[str, int]]:
    rows = run(f"scalelab query {ledger} SELECT/**/loss,count(*)FROM/**/runs/**/GROUP/**/BY/**/1"
               "/**/ORDER/**/BY/**/1 --format csv", folder, *paths)
    lines = rows.strip().splitlines()[1:]
    return [(line.rpartition(",")[0], int(line.rpartition(",")[2])) for line in lines]


@pytest.fixture
def package(tmp_path: Path) -> tuple[Path, Path]:
    """The package of the text, installed into a folder: (source, folder)."""
    source, site = tmp_path / "my-losses", tmp_path / "site"
    (source / "src" / "my_losses").mkdir(parents=True)
    (source / "pyproject.toml").write_text(block("toml", "my-losses"))
    (source / "README.md").write_text("A loss.\n")
    for name in ("__init__", "cosine", "_scale"):
        (source / "src" / "my_losses" / f"{name}.py").write_text("")
    cosine = block("python", "class CosineCE")
    (source / "src" / "my_losses" / "cosine.py").write_text(cosine)
    installed(source, site)
    return source, site


def installed(source: Path, site: Path) -> None:
    """As pip lays it down, with its metadata; pip itself would ask the network for a builder."""
    import shutil
    import tomllib

    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    shutil.rmtree(site, ignore_errors=True)
    shutil.copytree(source / "src", site)
    facts = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        for group, points in project["entry-points"].items()
    ]
    (facts / "entry_points.txt").write_text("\n".join(lines))


def test_a_loss_in_a_package_of_ones_own(package: tuple[Path, Path], tmp_path: Path) -> None:
    source, site = package
    (tmp_path / "study.toml").write_text(block("toml", "cosine_ce"))
    assert "my-losses 0.1" in run("scalelab list losses cosine_ce", tmp_path, site)
    run("scalelab plan study.toml", tmp_path, site)
    run("scalelab sweep study.toml", tmp_path, site)
    assert counts("study.duckdb", tmp_path, site) == [("cosine_ce", 1), ("cross_entropy", 1)]
    again = run("scalelab sweep study.toml --ledger inline.duckdb --executor inline", tmp_path, site)
    assert "done" in again
    figures = "scalelab query {} FROM/**/results --format csv"
    quality = [
        run(figures.format(ledger), tmp_path, site).splitlines()
        for ledger in ("study.duckdb", "inline.duckdb")
    ]
    names = quality[0][0].split(",")
    assert "test_ndcg_10" in names

    # A comment, a docstring and a README are no other loss; an edit is one, in a helper too.
    loss = source / "src" / "my_losses" / "cosine.py"
    (source / "README.md").write_text("A better text.\n")
    loss.write_text("# A remark.\n" + loss.read_text())
    installed(source, site)
    run("scalelab sweep study.toml", tmp_path, site)
    assert counts("study.duckdb", tmp_path, site) == [("cosine_ce", 1), ("cross_entropy", 1)]
    loss.write_text(loss.read_text().replace("temperature: float = 0.1", "temperature: float = 0.2"))
    installed(source, site)
    run("scalelab sweep study.toml", tmp_path, site)
    assert counts("study.duckdb", tmp_path, site) == [("cosine_ce", 2), ("cross_entropy", 1)]
