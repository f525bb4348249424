from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from scalelab import api
from scalelab.cli import plan, recommend
from scalelab.cli.output import fail, fits_terminal, grid
from scalelab.core.units import GIB

COLUMNS = ("cell", "requested", "what", "empty")
ROWS = [("bce num_negatives=128", "1,234.5 MiB", "some words that can be wrapped anywhere", "")]


def _printed(width: int) -> list[str]:
    screen = Console(width=width)
    with screen.capture() as captured:
        screen.print(grid(COLUMNS, ROWS, right="requested", width=width))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [54, 60, 70, 120])
def test_no_word_and_no_number_is_cut_in_two_where_there_is_room(width: int) -> None:
    lines = _printed(width)
    words = {word for line in lines for word in line.split()}
    assert {"num_negatives=128", "anywhere"} <= words
    assert any("1,234.5 MiB" in line for line in lines)
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "expected"), [(54, True), (50, False)])
def test_room_is_what_whole_words_need(
    width: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    assert fits_terminal(COLUMNS, ROWS, right="requested") is expected


@pytest.mark.slow
def test_a_plan_is_one_line_for_each_configuration(
    scalelab: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = scalelab("plan", "quickstart", "--on", "h100", "--set", "train.epochs=1")
    assert done.code == 0
    lines = [line for line in done.out.splitlines() if "MiB" in line and "%" in line]
    assert len(lines) == 15
    assert max(map(len, lines)) <= 80
    losses = {line.split()[0] for line in lines}
    assert losses == {"bce", "cross_entropy", "dense_ce", "rece", "sampled_softmax"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("budget", "expected"),
    [
        ("8GiB", "The largest batch.size is 3,000: what limits it is the number of users"),
        ("300MiB", "does not fit 300 MiB."),
    ],
)
def test_a_solution_says_what_limits_it_and_shows_nothing_above_the_limit(
    scalelab: Callable, budget: str, expected: str
) -> None:
    asked = (
        *("plan", "sasrec-synthetic", "--on", "h100", "--set", "data.num_users=3000"),
        *("--solve", "batch.size", "--budget", budget),
    )
    shown = scalelab(*asked).out
    assert expected in shown
    assert "device_used" not in shown
    (found,) = scalelab(*asked, "--json").document
    assert found["fits"]
    for stage in ("memory", "evaluation"):
        assert found[stage]["reserved"]["total"] <= found["limit_bytes"]
    assert found["needed_bytes"] <= found["limit_bytes"]


def test_one_number_of_reserved_bytes_is_in_the_table_and_in_the_sentence(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("requested", "allocated", "reserved", "device_used")
    seconds = {"low": 1.0, "high": 2.0}
    document = {
        "label": "",
        "device": "H100",
        "device_kind": "cuda",
        "memory": {kind: {"total": (n + 1) * GIB} for n, kind in enumerate(kinds)},
        # Evaluation reserves more than training did.
        "evaluation": {kind: {"total": (n + 4) * GIB} for n, kind in enumerate(kinds)},
        "needed_bytes": 6 * GIB,
        "limit_bytes": 6 * GIB,
        "host_rss_bytes": None,
        "fits": True,
        "seconds": dict.fromkeys(("step", "evaluation", "run"), seconds) | {"pretraining": None},
    }
    monkeypatch.setattr(api, "plan", lambda *args, **more: [document])
    plan.main("sasrec-synthetic")
    shown = capsys.readouterr().out
    assert shown.count("6 GiB") == 3  # the table, the limit, what is needed
    assert "3 GiB" not in shown
    assert "7 GiB" not in shown


def test_recommend_takes_the_format_that_its_hint_names(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: dict[str, Any] = {}
    monkeypatch.setattr(api, "recommend", lambda *args, **more: taken.update(more))
    names = (Path("kept"), Path("histories.csv"), Path("top.lists"))
    recommend.main(*names, format=recommend.RowFormat.CSV, quiet=True)
    assert taken["format"] == "csv"


def test_what_is_larger_than_memory_is_one_line_and_no_fault_of_ours(
    scalelab: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = ("plan", "sasrec-synthetic", "--set", f"data.num_users={10**15}")
    done = scalelab(*args)
    assert done.code == 2
    assert "and this machine has" in done.err
    # Where the system does not say how much memory there is.
    monkeypatch.setattr("scalelab.synthetic.model.host_bytes", lambda: None)
    done = scalelab(*args)
    assert done.code == 1
    assert "out of memory: Unable to allocate" in done.err
    assert "more memory than this machine has" in done.err
    assert "bug" not in done.err


@pytest.mark.parametrize("as_json", [False, True])
def test_an_error_that_quotes_a_huge_value_can_be_read(
    as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    message, hint = f"first {'x' * 10**6} last", f"hint {'y ' * 10**6}"
    assert fail("spec", message, hint, 2, as_json=as_json) == 2
    written = capsys.readouterr()
    text = written.out + written.err
    assert "first x" in text
    assert "x last" in text
    assert len(text) < 3000
