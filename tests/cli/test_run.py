import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from scalelab import api
from scalelab.cli import app

COMMANDS = [
    ("sweep",),
    ("profile",),
    ("plan",),
    ("advise",),
    ("query",),
    ("report",),
    ("compare",),
    ("data", "describe"),
    ("data", "convert"),
    ("data", "synthesize"),
    ("list",),
    ("keys",),
    ("schema",),
    ("new",),
    ("estimate",),
    ("answer",),
    ("table",),
    ("recommend",),
    ("doctor",),
]

BAD = {
    "unknown command": ("swep", "quickstart"),
    "unknown subcommand": ("data", "descibe", "x"),
    "unknown option": ("sweep", "quickstart", "--budjet", "1GiB"),
    "missing argument": ("sweep",),
    "option without value": ("sweep", "quickstart", "--ledger"),
    "bad choice": ("sweep", "quickstart", "--executor", "procceses"),
    "bad number": ("sweep", "quickstart", "--workers", "many"),
    "number out of range": ("sweep", "quickstart", "--workers", "0"),
    "unknown study": ("sweep", "quickstrat"),
    "unknown run": ("profile", "sasrec-sinthetic"),
    "bad size": ("sweep", "quickstart", "--budget", "8GB?"),
    "no size": ("sweep", "quickstart", "--budget", "0"),
    "bad duration": ("sweep", "quickstart", "--time-budget", "soon"),
    "set without value": ("sweep", "quickstart", "--set", "batch.size"),
    "missing ledger": ("query", "nowhere.duckdb", "SELECT 1"),
    "ledger that is a folder": ("query", ".", "SELECT 1"),
    "missing ledger to report": ("report", "nowhere.duckdb"),
    "unknown kind of part": ("list", "loses"),
    "unknown chart": ("report", "nowhere.duckdb", "--chart", "paretoo"),
    "bad chart format": ("report", "nowhere.duckdb", "--format", "gif"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("form", ["text", "json"])
def test_bad_input_is_one_clear_line_and_exit_code_2(
    scalelab: Callable, name: str, form: str
) -> None:
    arguments = BAD[name]
    has_json = arguments[0] not in ("swep",) and name != "option without value"
    done = scalelab(*arguments, *(["--json"] if form == "json" and has_json else []))
    assert done.code == 2
    assert "Traceback" not in done.err
    if form == "json" and has_json:
        assert set(done.document["error"]) == {"kind", "message", "hint"}
        assert "\n" not in done.document["error"]["message"]
        assert done.err == ""
        return
    assert done.out == ""
    lines = done.err.splitlines()
    assert lines[0].startswith("error: ")
    assert 1 <= len(lines) <= 2
    assert all(line.startswith("hint: ") for line in lines[1:])


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [
        (("swep", "quickstart"), "'sweep'"),
        (("data", "descibe", "x"), "'describe'"),
        (("sweep", "quickstart", "--budjet", "1GiB"), "--budget"),
        (("sweep", "quickstrat"), "'quickstart'"),
        (("list", "loses"), "'losses'"),
        (("profile", "sasrec-sinthetic"), "'sasrec-synthetic'"),
        (("plan", "sasrec-synthetic", "--set", "epochs=3"), "'train.epochs'"),
        (("plan", "sasrec-synthetic", "--set", "train_on=last"), "'loss.train_on'"),
        (("plan", "sasrec-synthetic", "--set", "trane.epochs=3"), "'train'"),
    ],
)
def test_a_typo_is_answered_with_the_nearest_word(
    scalelab: Callable, arguments: tuple[str, ...], nearest: str
) -> None:
    assert nearest in scalelab(*arguments).err


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(
    scalelab: Callable, command: tuple[str, ...]
) -> None:
    done = scalelab(*command, "--help")
    assert done.code == 0
    text = " ".join(done.out.split())
    assert f"Example: scalelab {' '.join(command)}" in text


def test_the_commands_are_those_of_the_contract() -> None:
    names = {command.name for command in app.registered_commands}
    groups = {group.name for group in app.registered_groups}
    assert names | groups == {command[0] for command in COMMANDS}


def test_no_arguments_show_the_help(scalelab: Callable) -> None:
    done = scalelab()
    assert done.code == 0
    assert "sweep" in done.out


def test_a_fault_of_ours_is_one_line_that_says_how_to_see_more(
    scalelab: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("boom\nand bang")

    monkeypatch.setattr(api, "query", fail)
    done = scalelab("query", "x.duckdb", "SELECT 1")
    assert done.code == 1
    assert done.err.splitlines()[0] == "error: RuntimeError: boom and bang"
    assert "SCALELAB_TRACEBACK=1" in done.err
    monkeypatch.setenv("SCALELAB_TRACEBACK", "1")
    with pytest.raises(RuntimeError, match="boom"):
        scalelab("query", "x.duckdb", "SELECT 1")


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "free some space"), (errno.EACCES, "see the rights")]
)
def test_what_the_disk_refuses_is_no_fault_of_ours(
    scalelab: Callable, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number), "/tmp/x")

    monkeypatch.setattr(api, "query", fail)
    done = scalelab("query", "x.duckdb", "SELECT 1")
    assert done.code == 1
    first, hint = done.err.splitlines()
    assert first == f"error: {os.strerror(number)}: /tmp/x"
    assert hint.startswith(f"hint: {advice}")


@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupt_ends_with_130(
    scalelab: Callable, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "query", interrupt)
    done = scalelab("query", "x.duckdb", "SELECT 1", *(["--json"] if as_json else []))
    assert done.code == 130
    if as_json:
        assert done.document["error"]["kind"] == "interrupted"
    else:
        assert done.err == "interrupted\n"


@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_error() -> None:
    line = f"{sys.executable} -m scalelab list --json | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["{", "0"]


@pytest.mark.slow
def test_help_and_query_import_nothing_heavy(ledger: Path) -> None:
    """Startup stays short because of what is not imported; time itself is not asserted."""
    for arguments, forbidden in (
        (["--help"], ("torch", "duckdb", "pyarrow", "altair", "numba")),
        (["query", str(ledger), "SELECT 1"], ("torch", "altair", "numba", "numpy.testing")),
        (["list", "losses"], ("torch", "numba")),
    ):
        code = (
            "import sys\nfrom scalelab.cli import run\n"
            f"try:\n    run({arguments!r})\n"
            "except SystemExit as ended:\n    assert not ended.code, ended.code\n"
            f"found = [m for m in {forbidden!r} if m in sys.modules]\n"
            "assert not found, found\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.slow
def test_triton_lists_no_leaks_when_a_command_ends() -> None:
    pytest.importorskip("triton", reason="needs the extra `triton`")
    code = "import triton\nfrom scalelab.cli import run\nrun(['--version'])\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_json_errors_keep_their_exit_code(scalelab: Callable) -> None:
    done = scalelab("query", "nowhere.duckdb", "SELECT 1", "--json")
    assert done.code == 2
    assert json.loads(done.out)["error"]["kind"] == "ledger"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("sweep", "quickstart", "--budget", "8"), ("--budget 8 has no unit", "8GiB")),
        (("sweep", "quickstart", "--time-budget", "10"), ("--time-budget 10 has no", "10min")),
        (("plan", "quickstart", "--budget", " 8 "), ("--budget 8 has no unit", "8GiB")),
    ],
)
def test_a_limit_without_a_unit_is_refused(
    scalelab: Callable, words: tuple[str, ...], told: tuple[str, str]
) -> None:
    done = scalelab(*words)
    assert done.code == 2
    assert all(part in done.err for part in told)


def test_a_ledger_given_for_a_study_is_called_a_ledger(scalelab: Callable, tmp_path: Path) -> None:
    import duckdb

    duckdb.connect(str(tmp_path / "mine.duckdb")).close()
    done = scalelab("sweep", str(tmp_path / "mine.duckdb"))
    assert done.code == 2
    assert "it is a ledger" in done.err
    assert "scalelab report" in done.err


def test_data_without_a_verb_prints_its_help_and_no_error(scalelab: Callable) -> None:
    done = scalelab("data")
    assert (done.code, done.err) == (0, "")
    assert "synthesize" in done.out


def test_the_help_groups_commands_by_what_people_do(scalelab: Callable) -> None:
    shown = scalelab("--help").out
    groups = ["Predict what a run takes", "Run and measure", "Read results", "Data sets"]
    assert all(group in shown for group in groups)
    assert "─ Commands" not in shown, "each command has a group"
