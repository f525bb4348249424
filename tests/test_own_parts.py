"""A stranger's parts, outside the tree: what CONTRIBUTING.md says, done as it says it.

The commands are those of the text; a package is installed into a folder without any network.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from scalelab.store.ledger import Ledger

pytestmark = pytest.mark.slow
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


def query(ledger: str, sql: str, folder: Path) -> list[dict[str, object]]:
    return Ledger(folder / ledger).query(sql).to_pylist()


def runs(ledger: str, folder: Path) -> dict[str, int]:
    rows = query(ledger, "SELECT loss, count(*) AS n FROM runs GROUP BY loss", folder)
    return {str(row["loss"]): int(str(row["n"])) for row in rows}


@pytest.fixture
def package(tmp_path: Path) -> tuple[Path, Path]:
    """The package of the text, installed into a folder: (source, folder)."""
    source, site = tmp_path / "my-losses", tmp_path / "site"
    (source / "src" / "my_losses").mkdir(parents=True)
    (source / "pyproject.toml").write_text(block("toml", 'name = "my-losses"'))
    (source / "README.md").write_text("A loss.\n")
    (source / "src" / "my_losses" / "__init__.py").write_text("")
    cosine = block("python", "class CosineCE")
    (source / "src" / "my_losses" / "cosine.py").write_text(cosine)
    install(source, site)
    return source, site


def install(source: Path, site: Path) -> None:
    """As pip lays it down, with its metadata; pip itself would ask the network for a builder."""
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


COMMANDS = block("bash", "scalelab plan cosines.toml").splitlines()


def test_a_loss_in_a_package_of_ones_own(package: tuple[Path, Path], tmp_path: Path) -> None:
    source, site = package
    (tmp_path / "cosines.toml").write_text(block("toml", '"loss.name"'))
    printed = {command: run(command, tmp_path, site) for command in COMMANDS}
    assert "my-losses 0.1" in printed["scalelab list losses cosine_ce"]
    both = {"cosine_ce": 1, "cross_entropy": 1}
    assert runs("cosines.duckdb", tmp_path) == runs("inline.duckdb", tmp_path) == both

    # The two executors agree, and quality is by the cosine: by the inner product it is another.
    quality = "SELECT loss, valid_ndcg_10, test_ndcg_10 FROM results ORDER BY loss"
    ours = query("cosines.duckdb", quality, tmp_path)
    assert ours == query("inline.duckdb", quality, tmp_path)
    (origin,) = query(
        "cosines.duckdb", "SELECT origin FROM runs WHERE loss = 'cosine_ce'", tmp_path
    )
    loss = json.loads(str(origin["origin"]))["loss"]
    assert (loss["package"], loss["version"]) == ("my-losses", "0.1")

    # A comment and a README are no other loss; an edit is.
    file = source / "src" / "my_losses" / "cosine.py"
    (source / "README.md").write_text("A better text.\n")
    file.write_text("# A remark.\n" + file.read_text())
    install(source, site)
    run("scalelab sweep cosines.toml", tmp_path, site)
    assert runs("cosines.duckdb", tmp_path) == both
    text = file.read_text()
    # Ranking by the inner product trains the same and finds other quality.
    file.write_text(
        text.replace("    def scores(", "    def cosines(").replace("self.scores", "self.cosines")
    )
    install(source, site)
    run("scalelab sweep cosines.toml", tmp_path, site)
    assert runs("cosines.duckdb", tmp_path) == both | {"cosine_ce": 2}
    found = query(
        "cosines.duckdb",
        "SELECT DISTINCT test_ndcg_10 FROM results WHERE loss = 'cosine_ce'",
        tmp_path,
    )
    assert len(found) == 2


def test_the_package_passes_its_own_test(package: tuple[Path, Path], tmp_path: Path) -> None:
    _, site = package
    (tmp_path / "test_cosine.py").write_text(block("python", "TestCosineCE"))
    # A warning, such as of a mark that only our own tests know, would fail it.
    assert " passed" in run("pytest -q -W error test_cosine.py", tmp_path, site)


def test_a_model_as_a_file(tmp_path: Path) -> None:
    for command in block("bash", "scalelab new model").splitlines():
        run(command, tmp_path)
    found = query("quickstart.duckdb", "SELECT DISTINCT model, outcome FROM runs", tmp_path)
    assert found == [{"model": "mean_pool.py:MeanPool", "outcome": "done"}]


def test_a_chart_as_a_file(tmp_path: Path) -> None:
    run("scalelab sweep quickstart --set train.epochs=1", tmp_path)
    for command in block("bash", "scalelab new chart").splitlines():
        run(command, tmp_path)
    assert (tmp_path / "my_chart.py-MyChart.html").is_file()


@pytest.mark.parametrize("kind", ["loss", "model", "chart"])
def test_what_new_writes_is_clean(kind: str, tmp_path: Path) -> None:
    run(f"scalelab new {kind} my_part", tmp_path)
    run("ruff check --isolated .", tmp_path)
    run("ruff format --isolated --check .", tmp_path)
    assert "is there already" in run(f"scalelab new {kind} my_part", tmp_path, code=2)
    if kind == "loss":
        assert " passed" in run("pytest -q test_my_part.py", tmp_path)
        run("scalelab plan sasrec-synthetic --set loss.name=./my_part.py:MyPart", tmp_path)
