import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from .terminal import Screen, run_in_terminal

STUDY = """
base = "sasrec-synthetic"
[set]
"data.num_users" = 120
"data.num_items" = 60
"data.mean_length" = 8.0
"data.max_length" = 30
"batch.max_len" = 10
"model.hidden_dim" = 16
"model.num_blocks" = 1
"train.epochs" = 1
"device.threads" = 1
[axes]
"loss.name" = ["dense_ce", "bce"]
"batch.size" = [16, 64]
"""


@pytest.fixture
def study(plain_environment: Path) -> Path:
    path = plain_environment / "tiny.toml"
    path.write_text(STUDY, encoding="utf-8")
    return path


@pytest.mark.slow
def test_it_ends_with_results_front_ledger_and_what_to_type_next(
    scalelab: Callable, study: Path
) -> None:
    done = scalelab("sweep", study, "--executor", "inline")
    assert done.code == 0
    for word in ("dense_ce", "bce", "batch 16", "valid", "test", "peak", "train", "outcome"):
        assert word in done.out
    for line in (
        "Pareto front: configurations that no other beats",
        "4 done; ledger: tiny.duckdb",
        "see:  scalelab report tiny.duckdb",
        'scalelab query tiny.duckdb "FROM pareto_memory"',
        "no model can expect more than",
    ):
        assert line in done.out
    assert sum(" start " in line for line in done.err.splitlines()) == 4
    # The commands that it names can be typed.
    assert scalelab("query", "tiny.duckdb", "FROM pareto_memory").code == 0
    again = scalelab("sweep", study, "--executor", "inline")
    assert again.code == 0
    assert " start " not in again.err
    assert "4 done before; ledger" in again.out or "4 done; ledger" in again.out


@pytest.mark.slow
def test_json_is_one_document_and_quiet_is_quiet(scalelab: Callable, study: Path) -> None:
    done = scalelab("sweep", study, "--executor", "inline", "--json", "--quiet")
    assert done.code == 0
    assert done.err == ""
    document = json.loads(done.out)
    assert document["counts"] == {"done": 4}
    assert {cell["outcome"] for cell in document["cells"]} == {"done"}
    assert all(0 <= cell["test_ndcg_10"] <= 1 for cell in document["cells"])


def test_a_dry_run_shows_cells_and_predictions(scalelab: Callable, study: Path) -> None:
    done = scalelab("sweep", study, "--dry-run")
    assert done.code == 0
    assert "4 of 4 runs would start" in done.err
    assert done.out.count("MiB") + done.out.count("KiB") == 4
    assert not Path("tiny.duckdb").exists()
    document = scalelab("sweep", study, "--dry-run", "--json", "--quiet").document
    assert [cell["finished_before"] for cell in document["cells"]] == [False] * 4


def test_cells_over_the_budget_are_skipped_with_the_reason(scalelab: Callable, study: Path) -> None:
    done = scalelab("sweep", study, "--executor", "inline", "--budget", "1KiB")
    assert done.code == 0
    assert "4 skipped" in done.out
    assert "1 KiB" in done.err


def test_a_set_that_is_wrong_names_the_nearest_key(scalelab: Callable, study: Path) -> None:
    done = scalelab("sweep", study, "--set", "batch.siez=3")
    assert done.code == 2
    assert "did you mean 'batch.size'" in done.err
    assert not Path("tiny.duckdb").exists()


@pytest.mark.slow
def test_in_a_terminal_only_the_results_stay(study: Path) -> None:
    written, code = run_in_terminal(
        ["-m", "scalelab", "sweep", str(study), "--executor", "inline"], width=80, height=24
    )
    assert code == 0
    screen = Screen(80, 24)
    screen.feed(written)
    lines = screen.shown()
    assert lines[0].startswith("Results")
    assert sum(line.startswith("Results") for line in lines) == 1
    assert sum("ledger: tiny.duckdb" in line for line in lines) == 1
    assert len(lines) == len(set(lines)) or max(map(len, lines)) <= 80


@pytest.mark.slow
def test_an_interrupted_sweep_keeps_what_it_has_and_goes_on(study: Path) -> None:
    """Ctrl-C once: exit code 130, the ledger readable; typed again, it finishes."""
    command = [sys.executable, "-m", "scalelab", "sweep", str(study), "--set", "train.epochs=30"]
    command += ["--set", "train.patience=30", "--set", "loss.name=bce", "--set", "batch.size=16"]
    command += ["--executor", "inline"]
    child = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stderr is not None
    for line in child.stderr:
        if " start " in line:
            break
    time.sleep(0.3)
    os.kill(child.pid, signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "Traceback" not in err + out
    assert "type the same command again" in out
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
