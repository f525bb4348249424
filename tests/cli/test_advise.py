"""`advise`: what it writes, refuses and says; nothing is trained but in the last, slow test."""

import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import scalelab as package
from scalelab.core.events import SweepObserver
from scalelab.core.records import Record
from scalelab.core.study import StudySpec
from scalelab.studies.grid import expand

# Small enough that a prediction takes a moment.
SMALL = (
    *("--set", "model.hidden_dim=8", "--set", "batch.max_len=10", "--set", "train.epochs=40"),
    *("--set", "model.num_blocks=1", "--set", "batch.size=16", "--set", "device.threads=1"),
)
CATALOG = ("--items", "2000", "--users", "300")


@pytest.mark.slow
def test_it_writes_a_study_and_the_next_command_can_be_typed(scalelab: Callable) -> None:
    done = scalelab("advise", *CATALOG, "--on", "rtx4090", "--hours", "1", *SMALL)
    assert done.code == 0, done.err
    study = StudySpec.load("advise-synthetic.toml")
    specs = [each.spec for each in expand(study)]
    assert len({spec.as_json() for spec in specs}) == len(specs) > 2
    assert {spec.loss.name for spec in specs} >= {"cross_entropy", "sampled_softmax", "bce"}
    assert {spec.model.options["hidden_dim"] for spec in specs} == {8}
    assert study.halving is not None
    assert study.budget.total == "1h"
    said = " ".join(done.out.split())
    assert "Quality is not predicted" in said
    assert f"compares {len(specs)} of them" in said
    assert "only your data can tell" in said
    assert max(map(len, done.out.splitlines()[: done.out.splitlines().index("")])) <= 120
    (line,) = re.findall(r"next: scalelab (.*)", done.out)
    assert scalelab(*shlex.split(line)).code == 0
    (line,) = re.findall(r"^ +scalelab (sweep .*)", done.out, flags=re.MULTILINE)
    assert scalelab(*shlex.split(line), "--dry-run").code == 0


def test_json_is_one_document_with_what_was_chosen_and_why_not(scalelab: Callable) -> None:
    done = scalelab("advise", *CATALOG, "--on", "rtx4090", *SMALL, "--json")
    found = done.document
    chosen = [each for each in found["configurations"] if each["chosen"]]
    assert found["study"]["number"] == len(chosen)
    for each in found["configurations"]:
        assert (each["left_out_because"] is None) == each["chosen"]
    assert found["num_items"] == 2000
    assert found["sentence"]
    assert found["next"]
    assert Path(found["study"]["file"]).is_file()


@pytest.mark.slow
def test_what_leaves_too_little_free_is_left_out(scalelab: Callable) -> None:
    # Large steps and few users to rank: training decides, and losses differ.
    large = ("--set", "batch.size=64", "--set", "data.max_eval_users=4")
    asked = ("advise", *CATALOG, "--on", "cpu", *SMALL, *large, "--json")
    free = scalelab(*asked, "--out", "a.toml").document["configurations"]
    sizes = sorted(each["needed_bytes"] for each in free)
    limit = int((sizes[0] + sizes[-1]) / 2 / 0.9)
    with_none = scalelab(*asked, "--memory", f"{limit}B", "--headroom", "0", "--out", "b.toml")
    for each in with_none.document["configurations"]:
        assert each["fits"] == (each["needed_bytes"] <= limit)
    some = scalelab(*asked, "--memory", f"{limit}B", "--headroom", "0.1", "--out", "c.toml")
    found = some.document["configurations"]
    assert not all(each["fits"] for each in found)
    for each in found:
        assert each["fits"] == (each["needed_bytes"] <= 0.9 * limit)
        assert each["fits"] or "does not fit" in each["left_out_because"]
        assert each["fits"] or not each["chosen"]


@pytest.mark.slow
def test_a_file_that_is_there_is_not_overwritten(scalelab: Callable) -> None:
    Path("advise-synthetic.toml").write_text("mine", encoding="utf-8")
    done = scalelab("advise", *CATALOG, "--on", "rtx4090", *SMALL)
    assert done.code == 2
    assert "exists already" in done.err
    assert Path("advise-synthetic.toml").read_text(encoding="utf-8") == "mine"
    assert scalelab("advise", *CATALOG, "--on", "rtx4090", *SMALL, "--out", "x.toml").code == 0


BAD = {
    "nothing to plan for": ((), "size of the catalog"),
    "users alone": (("--users", "1M"), "size of the catalog"),
    "no number": (("--items", "many"), "invalid number"),
    "no users": (("--items", "2M", "--users", "0"), "above 0"),
    "no unit": ((*CATALOG, "--memory", "8"), "which unit"),
    "no hours": ((*CATALOG, "--hours", "0"), "above 0"),
    "hours that are no number": ((*CATALOG, "--hours", "8h"), "'--hours'"),
    "all kept free": ((*CATALOG, "--headroom", "1"), "share of the memory"),
    "percent": ((*CATALOG, "--headroom", "10"), "share of the memory"),
    "unknown device": ((*CATALOG, "--on", "rtx4080x"), "rtx4080x"),
    "unknown base": ((*CATALOG, "--base", "sasrec-beuty"), "sasrec-beauty"),
    "a loss": ((*CATALOG, "--set", "loss.name=bce"), "chooses loss.name itself"),
    "unknown key": ((*CATALOG, "--set", "batch.sise=3"), "size"),
    "data that are not there": (("nowhere.csv",), "nowhere.csv"),
    "running elsewhere": ((*CATALOG, "--run", "--on", "h100", "--hours", "1"), "this machine"),
    "running without hours": ((*CATALOG, "--run"), "hours"),
    "no memory": ((*CATALOG, *SMALL, "--on", "cpu", "--memory", "100KiB"), "fits"),
    "too few hours": ((*CATALOG, *SMALL, "--on", "cpu", "--hours", "1e-5"), "too short"),
    "a folder that is not there": ((*CATALOG, *SMALL, "--out", "no/x.toml"), "cannot write"),
}


# These are found only when all is planned.
LATE = ("no memory", "too few hours", "a folder that is not there")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow) if name in LATE else name for name in BAD],
)
def test_bad_input_is_one_clear_line(scalelab: Callable, name: str) -> None:
    arguments, expected = BAD[name]
    done = scalelab("advise", *arguments)
    assert done.code == 2
    assert done.out == ""
    lines = [line for line in done.err.splitlines() if not line.startswith("planning ")]
    assert lines[0].startswith("error: ")
    assert expected in done.err
    assert len(lines) == 2
    assert not list(Path.cwd().glob("*.toml"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("plan", "sasrec-synthetic", "--items", "lots"), "invalid number"),
        (("plan", "sasrec-synthetic", "--budget", "8"), "--budget 8 has no unit"),
        (("plan", "catalog-breakdown", "--items", "2M", "--on", "cpu"), "varies data.num_items"),
        (("sweep", "quickstart", "--time-budget", "10"), "--time-budget 10 has no unit"),
    ],
)
def test_a_plan_refuses_what_it_cannot_read(
    scalelab: Callable, arguments: tuple[str, ...], expected: str
) -> None:
    done = scalelab(*arguments)
    assert done.code == 2
    assert expected in done.err


@pytest.mark.slow
def test_items_of_files_are_planned_for_with_the_lengths_of_the_file(
    scalelab: Callable,
) -> None:
    lines = [f"{user},{(7 * user + step) % 50},{step}" for user in range(40) for step in range(9)]
    Path("clicks.csv").write_text("\n".join(["user,item,time", *lines]), encoding="utf-8")
    asked = ("plan", "sasrec-beauty", "--set", "data.path=clicks.csv", "--on", "cpu", "--json")
    (own,) = scalelab(*asked).document
    (large,) = scalelab(*asked, "--items", "100k", "--users", "400").document
    assert (own["num_items"], own["num_users"]) == (50, 40)
    assert (large["num_items"], large["num_users"]) == (100_000, 400)
    width = large["spec"]["model"]["hidden_dim"]
    assert large["memory"]["requested"]["item_table"] == 4 * width * 100_001
    assert large["largest_step"]["positions"] == own["largest_step"]["positions"] * 128 // 40


@pytest.mark.slow
def test_the_next_plan_is_for_the_catalog_that_was_asked_for(scalelab: Callable) -> None:
    """The study trains on the data as they are; a plan of it must not forget the size."""
    lines = [f"{user},{(7 * user + step) % 50},{step}" for user in range(40) for step in range(9)]
    Path("clicks.csv").write_text("\n".join(["user,item,time", *lines]), encoding="utf-8")
    asked = ("advise", "clicks.csv", "--on", "rtx4090", "--items", "100k", *SMALL, "--json")
    found = scalelab(*asked).document
    file = found["study"]["file"]
    assert found["next"][0] == f"scalelab plan {file} --on rtx4090 --items 100000"
    planned = scalelab(*shlex.split(found["next"][0])[1:], "--json").document
    assert {each["num_items"] for each in planned} == {100_000}


@pytest.mark.slow
def test_a_key_that_the_study_varies_is_solved_once(scalelab: Callable, tmp_path: Path) -> None:
    study = tmp_path / "batches.toml"
    study.write_text('base = "sasrec-synthetic"\n[axes]\n"batch.size" = [16, 32, 64]\n')
    done = scalelab(
        *("plan", study, "--on", "cpu", "--solve", "batch.size", "--budget", "60MiB"),
        *("--set", "loss.name=bce", "--set", "negatives.num_negatives=1", "--json"),
    )
    (found,) = done.document
    assert found["label"] == ""
    assert found["limited_by"] == "memory"
    assert found["needed_bytes"] <= found["limit_bytes"] == 60 * 2**20


class InterruptsAfterTheFirst(SweepObserver):
    """Does what Ctrl-C does once a run has ended."""

    ended = 0

    def on_run_end(self, record: Record) -> None:
        self.ended += 1
        if self.ended == 1:
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.slow
def test_run_sweeps_the_study_and_typed_again_it_resumes(tmp_path: Path) -> None:
    os.chdir(tmp_path)
    settings = {
        "model.hidden_dim": 8,
        "batch.max_len": 10,
        "train.epochs": 60,  # or the second run ends before it hears of the stop
        "batch.size": 16,
        "model.num_blocks": 1,
        "device.threads": 1,
        "device.name": "cpu",
    }
    asked = {"items": 500, "users": 200, "hours": 0.5, "run": True, "set": settings}
    stopped = package.advise(**asked, observer=InterruptsAfterTheFirst())
    assert stopped["result"].exit_code == 130
    assert stopped["result"].counts["done"] >= 1
    whole = package.advise(**asked)
    assert whole["result"].exit_code == 0
    assert whole["study"] == stopped["study"]
    assert whole["result"].counts["done"] >= whole["study"]["number"]
    assert any(cell.finished_before for cell in whole["result"].cells)
    assert not all(cell.finished_before for cell in whole["result"].cells)
    again = package.advise(**asked)
    assert all(cell.finished_before for cell in again["result"].cells)
