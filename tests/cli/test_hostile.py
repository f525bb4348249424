"""What data, files and studies are called never steers the terminal, and is shown as it is."""

import csv
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from rich.console import Console

from scalelab.cli import app
from scalelab.cli.live import LiveState
from scalelab.cli.screen import draw
from scalelab.core.records import Outcome
from scalelab.store.ledger import Ledger

from .simulated import planned, progress, record
from .terminal import run_in_terminal

# Sets the title, colours, clears (in one byte too), turns the direction of writing; rich's markup.
ESCAPES = "\x1b]0;mine\x07\x1b[31m\x9b2J\u202e\r"
MARKUP = "[red]x[/red][/]"
HOSTILE = ESCAPES + MARKUP
STEERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
COMMAND = "import sys; from scalelab import cli; cli.run(sys.argv[1:])"


def assert_harmless(*streams: str) -> None:
    for text in streams:
        assert STEERS.search(text) is None, repr(text)


def literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.fixture
def hostile(ledger: Path) -> Path:
    """A ledger with a run whose words are hostile."""
    cell = planned(7, label=HOSTILE)
    ended = record(cell, Outcome.FAILED)
    run = replace(ended.run, error=HOSTILE, dataset=HOSTILE, loss=MARKUP)
    Ledger(ledger).append([replace(ended, run=run)])
    return ledger


def test_a_table_shows_values_and_names_of_columns(scalelab: Callable, hostile: Path) -> None:
    sql = f'SELECT loss, dataset, error AS "{HOSTILE}" FROM runs WHERE loss = {literal(MARKUP)}'
    done = scalelab("query", hostile, sql)
    assert done.code == 0, done.err
    assert_harmless(done.out, done.err)
    assert done.out.count(MARKUP) == 4
    assert "\\x1b[31m\\x9b2J\\u202e" in done.out


def test_json_holds_the_very_text(scalelab: Callable, hostile: Path) -> None:
    done = scalelab("query", hostile, f"SELECT {literal(HOSTILE)} AS a", "--json")
    assert_harmless(done.out, done.err)
    assert json.loads(done.out) == [{"a": HOSTILE}]


@pytest.mark.parametrize(
    "form", ["table", *(pytest.param(form, marks=pytest.mark.slow) for form in ("csv", "json"))]
)
def test_no_form_of_rows_steers_a_terminal(hostile: Path, form: str) -> None:
    arguments = ["query", str(hostile), f"SELECT {literal(HOSTILE)} AS a", "--format", form]
    written, code = run_in_terminal(["-c", COMMAND, *arguments], width=200, height=50)
    assert code == 0, written
    plain = re.sub(r"\x1b\[[\d;]*m", "", written).replace("\r\n", "\n")
    assert_harmless(plain)
    assert "mine" in plain
    assert "\x1b[31m" not in written


def test_csv_in_a_file_is_the_very_text(scalelab: Callable, hostile: Path, tmp_path: Path) -> None:
    sql = f"SELECT {literal(ESCAPES[:-1])} AS a"
    assert scalelab("query", hostile, sql, "--out", tmp_path / "rows.csv").code == 0
    assert ESCAPES[:-1] in (tmp_path / "rows.csv").read_text(encoding="utf-8")
    assert ESCAPES[:-1] in scalelab("query", hostile, sql, "--format", "csv").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("query", "small.duckdb", f"SELECT {literal(HOSTILE)} FROM nowhere"),
        ("query", "small.duckdb", f'SELECT "{HOSTILE}" FROM runs'),
        ("query", f"{HOSTILE.replace('/', '')}.duckdb", "SELECT 1"),
        ("sweep", f"{HOSTILE.replace('/', '')}.toml"),
        ("profile", "quickstart", "--set", f"{HOSTILE}=1"),
        ("profile", "sasrec-synthetic", "--set", f"loss.name={HOSTILE}"),
        ("data", "describe", f"{HOSTILE.replace('/', '')}.csv"),
        ("plan", "sasrec-synthetic", "--on", HOSTILE),
        ("report", "small.duckdb", "--chart", HOSTILE),
        (HOSTILE,),
        ("query", HOSTILE),
    ],
)
@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_does_not(
    scalelab: Callable,
    ledger: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    as_json: bool,
) -> None:
    monkeypatch.chdir(ledger.parent)
    done = scalelab(*arguments, *(["--json"] if as_json else []))
    assert done.code != 0
    assert_harmless(done.out, done.err)
    assert "internal" not in done.out
    assert "fault of scalelab" not in done.err


@pytest.mark.slow
def test_names_of_files_and_studies_do_not(
    scalelab: Callable, plain_environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    names = [f"{HOSTILE.replace('/', '')}{number}.csv" for number in (1, 2)]
    for step, name in enumerate(names, 1):
        rows = "".join(f"u{u},i{(u + step * k) % 30},{k}\n" for u in range(40) for k in range(6))
        (plain_environment / name).write_text(f"user,item,timestamp\n{rows}", encoding="utf-8")
    (plain_environment / "study.toml").write_text(
        f"""
        name = {json.dumps(HOSTILE)}
        base = "sasrec-synthetic"
        [set]
        "data.reader" = "table"
        "batch.max_len" = 5
        "model.hidden_dim" = 8
        "model.num_blocks" = 1
        "train.epochs" = 1
        [axes]
        "data.path" = {json.dumps(names)}
        """,
        encoding="utf-8",
    )
    dry = scalelab("sweep", "study.toml", "--ledger", "l.duckdb", "--dry-run")
    done = scalelab("sweep", "study.toml", "--ledger", "l.duckdb", "--executor", "inline")
    assert (dry.code, done.code) == (0, 0), (dry.err, done.err)
    assert_harmless(dry.out, dry.err, done.out, done.err)
    assert "[red]x[red][]1" in done.out
    assert "[red]x[red][]1" in done.err


def test_the_live_picture_shows_them_as_they_are() -> None:
    state = LiveState()
    cells = [planned(index, label=f"{HOSTILE} {index}") for index in range(3)]
    state.on_plan(HOSTILE, HOSTILE, cells)
    for cell in cells:
        state.on_run_start(cell.run_id)
    state.on_progress(progress(cells[0].run_id, 1))
    state.on_run_end(record(cells[1]))
    state.on_message(HOSTILE)
    # No colours: every control character would be one of theirs.
    screen = Console(width=200, height=40, force_terminal=True, color_system=None)
    with screen.capture() as captured:
        screen.print(draw(state.snapshot(), 200, 40))
    picture = captured.get()
    assert_harmless(picture)
    # The study, its device, one that runs, one that ended and is the Pareto front. What all names
    # share is shown once, and the message is cut.
    assert picture.count(MARKUP) == 5


# For names of files and folders: no slash, and no line end, which many tools cannot take.
NAME = HOSTILE.replace("/", "").replace("\r", "")


@pytest.fixture
def hostile_folder(plain_environment: Path, hostile: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a file of each kind, whose name and content are hostile."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("SCALELAB_DATA", NAME)
    place = plain_environment
    rows = "".join(f"u{u},i{(u + 3 * k) % 30}{HOSTILE},{k}\n" for u in range(40) for k in range(6))
    text = f"user,item,timestamp,{MARKUP}\n".encode() + rows.replace("\r", "").encode()
    (place / f"{NAME}.csv").write_bytes(
        b"\n".join(line + b",1" if b"timestamp" not in line else line for line in text.splitlines())
    )
    (place / f"{NAME}.toml").write_text(
        f"""
        name = {json.dumps(HOSTILE)}
        base = "sasrec-synthetic"
        [set]
        "data.path" = {json.dumps(f"{NAME}.csv")}
        "data.reader" = "table"
        "batch.max_len" = 5
        "model.hidden_dim" = 8
        "model.num_blocks" = 1
        "train.epochs" = 1
        """,
        encoding="utf-8",
    )
    with (place / f"{NAME}.published.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["dataset", "model", "loss", "metric", "value", "source"])
        writer.writerow([HOSTILE, "sasrec", MARKUP, "ndcg@10", "0.1", HOSTILE])
    (place / f"{NAME}.py").write_text(
        "import torch\n"
        "def small():\n"
        "    model = torch.nn.Module()\n"
        f"    model.add_module({HOSTILE.replace('.', '')!r}, torch.nn.Linear(3, 3))\n"
        "    def step(model, inputs):\n"
        "        return next(model.children())(inputs).sum()\n"
        "    return model, step, torch.randn(2, 3), torch.optim.SGD(model.parameters(), lr=0.1)\n",
        encoding="utf-8",
    )
    return place


SETTINGS = (
    *("--set", f"data.path={NAME}.csv", "--set", "data.reader=table"),
    *("--set", "model.hidden_dim=8", "--set", "batch.max_len=5"),
)
# What a command needs to have run before it.
BEFORE = {
    "recommend": ("profile", "sasrec-synthetic", *SETTINGS, "--steps", "1", "--save-model", "kept"),
}
WELL_MEANT = {
    "answer": [("answer", "small.duckdb")],
    "advise": [
        ("advise", f"{NAME}.csv", "--out", f"{NAME}.advised.toml", *SETTINGS[4:]),
        ("advise", f"{NAME}.csv", *SETTINGS[4:]),
    ],
    "compare": [("compare", "small.duckdb", "--published", f"{NAME}.published.csv")],
    "data": [
        ("data", "describe", f"{NAME}.csv"),
        ("data", "convert", f"{NAME}.csv", f"{NAME}.d"),
        ("data", "synthesize", f"{NAME}.s", "--set", "num_users=50", "--set", "num_items=400"),
    ],
    "doctor": [("doctor",)],
    "estimate": [("estimate", f"{NAME}.py:small")],
    "keys": [("keys", "batch")],
    "list": [("list", "profiles")],
    "new": [("new", "loss", "my_loss")],
    "plan": [("plan", f"{NAME}.toml"), ("plan", "sasrec-synthetic", *SETTINGS)],
    "profile": [("profile", "sasrec-synthetic", *SETTINGS, "--steps", "1", "--out", f"{NAME}.p")],
    "query": [("query", "small.duckdb", "FROM results")],
    "recommend": [("recommend", "kept", f"{NAME}.csv", "--k", "3", "--out", f"{NAME}.top.csv")],
    "report": [("report", "small.duckdb", "--out", f"{NAME}.html")],
    "schema": [("schema", "study", "--out", f"{NAME}.json")],
    "sweep": [("sweep", f"{NAME}.toml", "--ledger", f"{NAME}.duckdb", "--executor", "inline")],
    "table": [("table", "small.duckdb", "--metrics", "ndcg@10")],
}


def test_each_command_is_tried() -> None:
    assert set(WELL_MEANT) == set(typer.main.get_command(app).commands)


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
@pytest.mark.parametrize("line", [line for lines in WELL_MEANT.values() for line in lines], ids=str)
def test_no_output_of_a_command_steers_the_terminal(
    scalelab: Callable, hostile_folder: Path, line: tuple[str, ...], as_json: bool
) -> None:
    if line[0] in BEFORE:
        assert scalelab(*BEFORE[line[0]]).code == 0
    takes_json = line[0] not in ("schema",)
    done = scalelab(*line, *(["--json"] if as_json and takes_json else []))
    assert done.code in ((0, 1) if line[0] == "doctor" else (0,)), done.err
    assert_harmless(done.out, done.err)
    if as_json and takes_json:
        json.loads(done.out)
